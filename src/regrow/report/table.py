"""The tables of the report as plain rows: for the terminal, Markdown and the page alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from regrow.report import wording
from regrow.report.findings import ArmNumbers, CellSummary, Comparison, Outcome, StudySummary
from regrow.study.statistics import FAILED_MARGIN

OUTCOMES: Final[dict[Outcome, str]] = {
    "gain": "gain",
    "harm": "harm",
    "unclear": "not shown",
    "too few": "too few pairs",
}
"""How an outcome is written in a table."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of written numbers; the first column names the rows.

    Args:
        caption: What it shows, with n.
        columns: Headings, with units.
        rows: Cells, one string a column.
        words: Indices of the columns that hold words and are set flush left.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset({0})


def arms_table(cell: CellSummary) -> Table:
    """What each arm reached in one cell.

    Args:
        cell: The cell's numbers.

    Returns:
        One row an arm.
    """
    majority = (
        ""
        if cell.majority_share is None
        else (
            f" Failed: at most {wording.percent(cell.majority_share + FAILED_MARGIN)} % (the commonest class, "
            f"{wording.percent(cell.majority_share)} %, plus 2 points), diverged or crashed."
        )
    )
    diverged = (
        " A diverged network's outputs that are not finite count as wrong: it enters the mean with "
        "what is left, down to 0 %, which is below guessing."
        if any(arm.diverged for arm in cell.arms)
        else ""
    )
    several = (
        " A trial of several networks counts with their mean."
        if any(arm.networks > 1 for arm in cell.arms)
        else ""
    )
    return Table(
        caption=(
            "Test accuracy after the last epoch. n: trials that ended; SD: standard deviation "
            f"over seeds; crashed trials are in n and in failed, in no mean.{several}{diverged}{majority}"
        ),
        columns=(
            "Arm",
            "Recipe",
            "n",
            "Mean (%)",
            "Median (%)",
            "SD (points)",
            "Worst (%)",
            "Best (%)",
            "Failed",
            "Diverged / crashed",
            "Renewed per trial",
            "Extra time",
        ),
        rows=tuple(_arm_row(arm) for arm in cell.arms),
        words=frozenset({0, 1}),
    )


def activity_table(cell: CellSummary) -> Table:
    """What each arm did in one cell, and what it took.

    Args:
        cell: The cell's numbers.

    Returns:
        One row an arm.
    """
    return Table(
        caption=(
            "Renewed, restarts and scores that were NaN or infinite over all n trials. Inside the "
            "recipe: wall time spent there relative to the rest of the same trials. Extra time: wall "
            f"time per optimizer step relative to {cell.baseline} over common seeds."
        ),
        columns=(
            "Arm",
            "n",
            "Renewed per trial",
            "Trials with a renewal",
            "Restarts",
            "Non-finite scores",
            "Time per trial",
            "Inside the recipe (%)",
            "Extra time (%)",
        ),
        rows=tuple(
            (
                arm.label,
                str(arm.accuracy.n),
                wording.NOTHING if arm.renewed is None else f"{arm.renewed:.1f}",
                str(arm.trials_renewed),
                str(arm.restarts),
                str(arm.nonfinite),
                wording.seconds(arm.seconds),
                wording.percent(arm.recipe_time),
                wording.points(arm.extra_time),
            )
            for arm in cell.arms
        ),
    )


def paired_table(cell: CellSummary) -> Table:
    """How the arms of one cell differ, seed by seed.

    Args:
        cell: The cell's numbers.

    Returns:
        One row a comparison; differences are the first arm minus the second.
    """
    return Table(
        caption=(
            "Paired differences of test accuracy, first arm minus second, over n seeds with both. "
            "CI: bias-corrected and accelerated bootstrap of the mean (9999 resamples). Wilcoxon: "
            "exact signed-rank test, from six differing pairs on. McNemar: exact test on failed seeds."
        ),
        columns=(
            "Comparison",
            "n",
            "Difference (points)",
            "95 % CI (points)",
            "Verdict",
            "Wilcoxon p",
            "Wins / losses / ties",
            "Failed only in first / second",
            "McNemar p",
        ),
        rows=tuple(_paired_row(comparison) for comparison in cell.comparisons),
        words=frozenset({0, 4}),
    )


def overview_table(study: StudySummary) -> Table:
    """All cells of a study at one glance.

    Args:
        study: The whole study.

    Returns:
        One row for each cell and arm compared with the baseline.
    """
    rows: list[tuple[str, ...]] = []
    for cell in study.cells:
        for comparison in cell.comparisons:
            if comparison.role == "control":
                continue
            numbers = comparison.numbers
            rows.append(
                (
                    cell.cell,
                    comparison.arm,
                    str(numbers.n),
                    wording.points(numbers.mean_difference),
                    wording.interval(numbers.low, numbers.high),
                    f"{numbers.failed_b_only + numbers.failed_both}"
                    f" / {numbers.failed_a_only + numbers.failed_both}",
                    OUTCOMES[comparison.outcome],
                )
            )
    return Table(
        caption=(
            "Every cell: paired difference of test accuracy from the baseline over n seeds, "
            "and failed seeds without and with."
        ),
        columns=(
            "Cell",
            "Arm",
            "n",
            "Difference (points)",
            "95 % CI (points)",
            "Failed without / with",
            "Verdict",
        ),
        rows=tuple(rows),
        words=frozenset({0, 1, 6}),
    )


def as_text(table: Table) -> str:
    """Set a table in columns of plain text.

    Args:
        table: The table.

    Returns:
        Lines without a trailing newline; the caption is left out.

    Examples:
        >>> print(as_text(Table(caption="", columns=("Arm", "n"), rows=(("none", "24"),))))
        Arm    n
        ----  --
        none  24
    """
    widths = _widths(table)
    lines = [_line(table, table.columns, widths, "  ")]
    lines.append("  ".join("-" * width for width in widths))
    lines += [_line(table, row, widths, "  ") for row in table.rows]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(table: Table) -> str:
    r"""Set a table in Markdown, bars escaped.

    Args:
        table: The table.

    Returns:
        Lines without a trailing newline; the caption is left out.

    Examples:
        >>> print(as_markdown(Table(caption="", columns=("Arm", "n"), rows=(("a|b", "24"),))))
        | Arm  |  n |
        |:-----|---:|
        | a\|b | 24 |
    """
    table = Table(
        caption=table.caption,
        columns=tuple(_escaped(name) for name in table.columns),
        rows=tuple(tuple(_escaped(value) for value in row) for row in table.rows),
        words=table.words,
    )
    widths = _widths(table)
    rule = [
        ":" + "-" * (width + 1) if index in table.words else "-" * (width + 1) + ":"
        for index, width in enumerate(widths)
    ]
    lines = [
        _line(table, table.columns, widths, " | "),
        *(_line(table, row, widths, " | ") for row in table.rows),
    ]
    bars = [f"| {line} |" for line in lines]
    return "\n".join([bars[0], "|" + "|".join(rule) + "|", *bars[1:]])


def _arm_row(arm: ArmNumbers) -> tuple[str, ...]:
    accuracy = arm.accuracy
    ended = str(accuracy.n) if not arm.missing else f"{accuracy.n} of {arm.expected}"
    return (
        arm.label,
        _recipe(arm),
        ended,
        wording.percent(accuracy.mean),
        wording.percent(accuracy.median),
        wording.percent(accuracy.std),
        wording.percent(accuracy.worst),
        wording.percent(accuracy.best),
        str(accuracy.failed),
        f"{arm.diverged} / {accuracy.crashed}",
        wording.NOTHING if arm.renewed is None else f"{arm.renewed:.1f}",
        wording.NOTHING if arm.extra_time is None else f"{wording.signed(100 * arm.extra_time)} %",
    )


def _recipe(arm: ArmNumbers) -> str:
    if arm.networks > 1:
        return f"{arm.recipe} ({arm.networks} networks)"
    if arm.replays is not None:
        return f"{arm.recipe} (control of {arm.replays})"
    return f"{arm.recipe} (ranked at random)" if arm.ranked_at_random else arm.recipe


def _paired_row(comparison: Comparison) -> tuple[str, ...]:
    numbers = comparison.numbers
    return (
        f"{comparison.arm} \N{MINUS SIGN} {comparison.versus}",
        str(numbers.n),
        wording.points(numbers.mean_difference),
        wording.interval(numbers.low, numbers.high),
        OUTCOMES[comparison.outcome],
        wording.p_value(numbers.wilcoxon_p),
        f"{numbers.wins} / {numbers.losses} / {numbers.ties}",
        f"{numbers.failed_a_only} / {numbers.failed_b_only}",
        wording.p_value(numbers.mcnemar_p),
    )


def _widths(table: Table) -> list[int]:
    return [
        max(len(row[index]) for row in (table.columns, *table.rows))
        for index in range(len(table.columns))
    ]


def _line(table: Table, row: tuple[str, ...], widths: list[int], between: str) -> str:
    return between.join(
        value.ljust(width) if index in table.words else value.rjust(width)
        for index, (value, width) in enumerate(zip(row, widths, strict=True))
    )


def _escaped(value: str) -> str:
    return value.replace("|", r"\|")
