"""What several networks cost beside what they reach, and where a gain comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from regrow.report import wording
from regrow.report.findings import ArmNumbers, CellSummary, Comparison
from regrow.report.several import WAYS, Several, picked
from regrow.report.table import DIFFERENCE, OUTCOMES, Table, both, of_second, table_of

_AGAINST: Final = {
    "best": "against the best of as many",
    "mean weights": "against averaging once, at the end",
    "ensemble": "against their ensemble",
}


def cost_table(cell: CellSummary) -> Table:
    """What every arm costs beside what it reaches, the cheapest first.

    Args:
        cell: The cell's numbers.

    Returns:
        One row an arm, and one for each way in which several networks are one; no rows where all arms cost the same.
    """
    if all(arm.asked.relative == 1.0 for arm in cell.arms):
        return Table(caption="", columns=("Trial",), rows=())
    found: list[tuple[float, tuple[str, ...]]] = []
    by_label = {own.label: own for own in cell.several}
    for arm in cell.arms:
        title = arm.label if arm.networks == 1 else f"{arm.label}: mean of {arm.networks}"
        rows = [_priced(cell, arm, name=arm.label, title=title, mean=arm.accuracy.mean, tested=1)]
        own = by_label.get(arm.label)
        if own is not None:
            rows += [
                _priced(
                    cell,
                    arm,
                    name=own.name(way),
                    title=own.name(way),
                    mean=own.mean_of(way),
                    tested=own.networks if way == "ensemble" else 1,
                )
                for way in own.together
            ]
        found += [(arm.asked.relative, row) for row in rows]
    return Table(
        caption=(
            f"Cost: epochs that a trial trains over those of {cell.baseline}: networks times epochs of each, and those "
            "of its teachers. Networks at test: how many answer for one image. Like with like are rows of the same "
            f"cost and as many networks at test. Difference: paired, from {cell.baseline}, over n seeds with both; CI "
            "as in the table of pairs. The mean of networks that never meet is what one of them reaches, and one costs "
            f"less. {picked(cell.several)}{_not_counted(cell.arms)}".rstrip()
        ),
        columns=(
            "Trial",
            f"Cost (\N{MULTIPLICATION SIGN} {cell.baseline})",
            "Networks \N{MULTIPLICATION SIGN} epochs",
            "Teachers' epochs",
            "Networks at test",
            "Mean (%)",
            "n",
            "Difference (points)",
            "95 % CI (points)",
            "Verdict",
        ),
        rows=tuple(row for _, row in sorted(found, key=lambda entry: entry[0])),
        words=frozenset({0, 9}),
    )


def gain_table(cell: CellSummary) -> Table:
    """How much of a gain is the weighing by information, how much the averaging, and what networks apart reach.

    Args:
        cell: The cell's numbers.

    Returns:
        One row a comparison; no rows where no arm with several networks has a control.
    """
    rows: list[tuple[str, Comparison]] = []
    by_label = {own.label: own for own in cell.several}
    for arm in cell.arms:
        averaging, apart = arm.averaging_control, arm.apart_control
        if averaging is None and apart is None:
            continue
        asked = [("the whole difference", cell.comparison(arm.label, cell.baseline))]
        if averaging is not None:
            asked.append(("weighing by information", cell.comparison(arm.label, averaging)))
            asked.append(("averaging alone", cell.comparison(averaging, cell.baseline)))
        if apart is not None:
            asked.append(("that networks meet", cell.comparison(arm.label, apart)))
            asked += _against_apart(cell, by_label.get(arm.label), by_label.get(apart))
        rows += [(what, found) for what, found in asked if found is not None]
    return table_of(
        rows,
        {
            "Comparison": lambda row: both(row[1]),
            "What it shows": lambda row: row[0],
            **{name: of_second(write) for name, write in DIFFERENCE.items()},
        },
        caption=(
            "Paired differences of test accuracy, first minus second, over n seeds with both; CI as in the table of "
            "pairs. Weighing by information: from the same arm with amplitude = 0, which averages half and half. "
            "Networks that never meet: as many, trained in the same way."
        ),
        words={"Comparison", "What it shows", "Verdict"},
    )


def _against_apart(
    cell: CellSummary, own: Several | None, other: Several | None
) -> list[tuple[str, Comparison | None]]:
    """What the networks of an arm are worth beside as many that never meet."""
    if own is None or other is None:
        return []
    found = [(_AGAINST[way], cell.comparison(own.label, other.name(way))) for way in WAYS]
    both = cell.comparison(own.name("ensemble"), other.name("ensemble"))
    return [*found, ("ensemble against ensemble", both)]


def _priced(
    cell: CellSummary, arm: ArmNumbers, *, name: str, title: str, mean: float | None, tested: int
) -> tuple[str, ...]:
    """One row of the table of costs."""
    cost = arm.asked
    comparison = cell.comparison(name, cell.baseline)
    numbers = None if comparison is None else comparison.numbers
    return (
        title,
        f"{cost.relative:.3g}",
        f"{cost.networks} \N{MULTIPLICATION SIGN} {cost.epochs}",
        str(cost.teachers) if cost.teachers or not cost.files else wording.NOTHING,
        str(tested),
        wording.percent(mean),
        wording.NOTHING if numbers is None else str(numbers.n),
        wording.points(None if numbers is None else numbers.mean_difference),
        wording.interval(None, None)
        if numbers is None
        else wording.interval(numbers.low, numbers.high),
        wording.NOTHING if comparison is None else OUTCOMES[comparison.outcome],
    )


def _not_counted(arms: Sequence[ArmNumbers]) -> str:
    """What the cost leaves out, arm by arm."""
    files = [arm.label for arm in arms if arm.asked.files]
    other = [arm.label for arm in arms if arm.asked.own_model]
    told = ""
    if files:
        told += f" Teachers that are files are not counted: {', '.join(files)}."
    if other:
        told += f" Another network, of which an epoch is another price: {', '.join(other)}."
    return told
