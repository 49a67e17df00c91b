"""The tables of the report as plain rows: for the terminal, Markdown and the page alike.

Made of a summary's cells; `cli/tables`, `report/export` and `report/html` lay the rows out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from regrow.report import wording
from regrow.report.findings import ArmNumbers, CellSummary, Comparison, Outcome, StudySummary
from regrow.report.judged import Judged
from regrow.report.unit import Unit
from regrow.study.statistics import FAILED_MARGIN

T = TypeVar("T")

OUTCOMES: Final[dict[Outcome, str]] = {
    "gain": "gain",
    "harm": "harm",
    "unclear": "not shown",
    "too few": "too few pairs",
}
"""How an outcome is written in a table."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of written numbers; the first column names the rows."""

    caption: str  # what it shows, with n
    columns: tuple[str, ...]  # headings, with units
    rows: tuple[tuple[str, ...], ...]  # cells, one string a column
    # Indices of the columns that hold words and are set flush left.
    words: frozenset[int] = frozenset({0})


def table_of(
    rows: Iterable[T],
    columns: Mapping[str, Callable[[T], str]],
    *,
    caption: str,
    words: Collection[str] = (),
) -> Table:
    """Make a table of records; `words` are the headings of columns that hold words, if not the first alone."""
    return Table(
        caption=caption,
        columns=tuple(columns),
        rows=tuple(tuple(write(row) for write in columns.values()) for row in rows),
        words=frozenset(n for n, name in enumerate(columns) if name in words) or frozenset({0}),
    )


_OF_DIVERGED: Final = (
    " A diverged network's outputs that are not finite count as wrong: it enters the mean with "
    "what is left, down to 0 %, which is below guessing."
)
_OF_DIVERGED_ERRORS: Final = (
    " A diverged network enters the mean with what was measured before; the tasks that it did not reach count as those "
    "of a network that always answers 0."
)


def arms_table(cell: CellSummary) -> Table:
    """What each arm reached in one cell: one row an arm."""
    caption = (
        f"{cell.judged.whole}. n: trials that ended; SD: standard deviation "
        "over seeds; crashed trials are in n and in failed, in no mean."
    )
    if cell.judged.told:
        caption += f" {cell.judged.told}"
    if any(arm.networks > 1 for arm in cell.arms):
        caption += " A trial of several networks counts with their mean."
    unit = cell.judged.unit
    if any(arm.diverged for arm in cell.arms):
        caption += _OF_DIVERGED_ERRORS if unit.lower else _OF_DIVERGED
    if unit.lower:
        caption += " Failed: diverged or crashed."
    elif cell.majority_share is not None:
        caption += (
            f" Failed: at most {wording.percent(cell.majority_share + FAILED_MARGIN)} % (the commonest class, "
            f"{wording.percent(cell.majority_share)} %, plus 2 points), diverged or crashed."
        )
    return table_of(
        cell.arms,
        {
            "Arm": lambda arm: arm.label,
            "Recipe": _recipe,
            "n": lambda arm: (
                f"{arm.accuracy.n} of {arm.expected}" if arm.missing else str(arm.accuracy.n)
            ),
            f"Mean{unit.of_value}": lambda arm: unit.value(arm.accuracy.mean),
            f"Median{unit.of_value}": lambda arm: unit.value(arm.accuracy.median),
            f"SD{unit.of_difference}": lambda arm: unit.value(arm.accuracy.std),
            f"Worst{unit.of_value}": lambda arm: unit.value(arm.accuracy.worst),
            f"Best{unit.of_value}": lambda arm: unit.value(arm.accuracy.best),
            "Failed": lambda arm: str(arm.accuracy.failed),
            "Diverged / crashed": lambda arm: f"{arm.diverged} / {arm.accuracy.crashed}",
            "Renewed per trial": lambda arm: wording.decimal(arm.renewed),
            "Extra time": lambda arm: (
                wording.NOTHING if arm.extra_time is None else f"{wording.points(arm.extra_time)} %"
            ),
        },
        caption=caption,
        words={"Arm", "Recipe"},
    )


def activity_table(cell: CellSummary) -> Table:
    """What each arm did in one cell, and what it took: one row an arm."""
    return table_of(
        cell.arms,
        {
            "Arm": lambda arm: arm.label,
            "n": lambda arm: str(arm.accuracy.n),
            "Renewed per trial": lambda arm: wording.decimal(arm.renewed),
            "Trials with a renewal": lambda arm: str(arm.trials_renewed),
            "Restarts": lambda arm: str(arm.restarts),
            "Non-finite scores": lambda arm: str(arm.nonfinite),
            "Time per trial": lambda arm: wording.seconds(arm.seconds),
            "Inside the recipe (%)": lambda arm: wording.percent(arm.recipe_time),
            "Extra time (%)": lambda arm: wording.points(arm.extra_time),
        },
        caption=(
            "Renewed, restarts and scores that were NaN or infinite over all n trials. Inside the "
            "recipe: wall time spent there relative to the rest of the same trials. Extra time: wall "
            f"time per optimizer step relative to {cell.baseline} over common seeds."
        ),
    )


def differences(unit: Unit, *names: str) -> dict[str, Callable[[Comparison], str]]:
    """The columns of a table of paired differences, headed as the unit asks: those of these names, or all."""
    every: dict[str, Callable[[Comparison], str]] = {
        "n": lambda found: str(found.numbers.n),
        "Difference": lambda found: unit.difference(found.numbers.mean_difference),
        "95 % CI": lambda found: unit.interval(found.numbers.low, found.numbers.high),
        "Verdict": lambda found: OUTCOMES[found.outcome],
        "Wilcoxon p": lambda found: wording.p_value(found.numbers.wilcoxon_p),
        "Wins / losses / ties": lambda found: (
            f"{found.numbers.wins} / {found.numbers.losses} / {found.numbers.ties}"
        ),
    }
    headed = {"Difference": unit.of_difference, "95 % CI": unit.of_difference}
    return {f"{name}{headed.get(name, '')}": every[name] for name in names or every}


def last_differences(unit: Unit, *names: str) -> dict[str, Callable[[Sequence[Any]], str]]:
    """The same of the comparison that a row ends with, if there is one."""
    return {name: of_last(write) for name, write in differences(unit, *names).items()}


def of_last(write: Callable[[Comparison], str]) -> Callable[[Sequence[Any]], str]:
    """Write the comparison that a row ends with, if there is one."""
    return lambda row: wording.NOTHING if row[-1] is None else write(row[-1])


def both(comparison: Comparison) -> str:
    """Which two are compared."""
    return f"{comparison.arm} \N{MINUS SIGN} {comparison.versus}"


def paired_table(cell: CellSummary) -> Table:
    """How the arms of one cell differ, seed by seed: one row a comparison, the first arm minus the second."""
    better = "; below 0 the first is better" if cell.judged.unit.lower else ""
    return table_of(
        cell.comparisons,
        {
            "Comparison": both,
            **differences(cell.judged.unit),
            "Failed only in first / second": lambda found: (
                f"{found.numbers.failed_a_only} / {found.numbers.failed_b_only}"
            ),
            "McNemar p": lambda found: wording.p_value(found.numbers.mcnemar_p),
        },
        caption=(
            f"Paired differences of {cell.judged.accuracy}, first arm minus second, over n seeds with both{better}. "
            "CI: bias-corrected and accelerated bootstrap of the mean (9999 resamples). Wilcoxon: "
            "exact signed-rank test, from six differing pairs on. McNemar: exact test on failed seeds."
        ),
        words={"Comparison", "Verdict"},
    )


def overview_table(study: StudySummary) -> Table:
    """All cells of a study at one glance: one row for each cell and arm compared with the baseline."""
    judged = next((cell.judged for cell in study.cells), Judged())
    return table_of(
        [
            (cell.cell, comparison)
            for cell in study.cells
            for comparison in cell.comparisons
            if comparison.role != "control"
        ],
        {
            "Cell": lambda row: row[0],
            "Arm": lambda row: row[1].arm,
            **last_differences(judged.unit, "n", "Difference", "95 % CI"),
            "Failed without / with": of_last(
                lambda found: f"{found.numbers.failed_b} / {found.numbers.failed_a}"
            ),
            "Verdict": lambda row: OUTCOMES[row[1].outcome],
        },
        caption=(
            f"Every cell: paired difference of {judged.accuracy} from the baseline over n seeds, "
            "and failed seeds without and with."
        ),
        words={"Cell", "Arm", "Verdict"},
    )


def as_text(table: Table) -> str:
    """Set a table in columns of plain text."""
    head, *rows = _padded(table)
    rule = ["-" * len(text) for text in head]
    return "\n".join("  ".join(row).rstrip() for row in (head, rule, *rows))


def as_markdown(table: Table) -> str:
    """Set a table in Markdown, bars escaped."""
    columns, *rows = (
        tuple(value.replace("|", r"\|") for value in row) for row in (table.columns, *table.rows)
    )
    head, *body = _padded(replace(table, columns=columns, rows=tuple(rows)))
    rule = [
        f":{dashes}-" if place in table.words else f"-{dashes}:"
        for place, dashes in enumerate("-" * len(text) for text in head)
    ]
    lines = [f"| {' | '.join(row)} |" for row in (head, *body)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def _padded(table: Table) -> list[list[str]]:
    """The head and the rows, every column as wide as its widest text: words flush left, numbers flush right."""
    every = (table.columns, *table.rows)
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    return [
        [
            text.ljust(width) if place in table.words else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in every
    ]


def _recipe(arm: ArmNumbers) -> str:
    if arm.networks > 1:
        return f"{arm.recipe} ({arm.networks} networks)"
    if arm.replays is not None:
        return f"{arm.recipe} (control of {arm.replays})"
    return f"{arm.recipe} (ranked at random)" if arm.neutral else arm.recipe
