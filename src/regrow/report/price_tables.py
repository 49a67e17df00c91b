"""What several networks cost beside what they reach, and where a gain comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from regrow.report import wording
from regrow.report.findings import ArmNumbers, CellSummary, Comparison
from regrow.report.several import WAYS, Several, picked
from regrow.report.table import DIFFERENCE, Table, both, of_last, table_of

_AGAINST: Final = {
    "best": "against the best of as many",
    "mean weights": "against averaging once, at the end",
    "ensemble": "against their ensemble",
}


Priced = tuple[ArmNumbers, str, int, float | None, Comparison | None]
"""An arm, what is tested, with how many networks, its mean, and how it differs from the baseline."""


def cost_table(cell: CellSummary) -> Table:
    """What every arm costs beside what it reaches, the cheapest first.

    Returns:
        One row an arm, and one for each way in which several networks are one; no rows where all arms cost the same.
    """
    if all(arm.relative == 1.0 for arm in cell.arms):
        return Table(caption="", columns=("Trial",), rows=())
    rows: list[Priced] = []
    by_label = {own.label: own for own in cell.several}
    for arm in cell.arms:
        title = arm.label if arm.networks == 1 else f"{arm.label}: mean of {arm.networks}"
        whole = cell.comparison(arm.label, cell.baseline)
        rows.append((arm, title, 1, arm.accuracy.mean, whole))
        own = by_label.get(arm.label)
        if own is None:
            continue
        for way in own.together:
            name, tested = own.name(way), own.networks if way == "ensemble" else 1
            as_one = cell.comparison(name, cell.baseline)
            rows.append((arm, name, tested, own.mean_of(way), as_one))
    shown = ("n", "Difference (points)", "95 % CI (points)", "Verdict")
    return table_of(
        sorted(rows, key=lambda row: row[0].relative),
        {
            "Trial": lambda row: row[1],
            f"Cost (\N{MULTIPLICATION SIGN} {cell.baseline})": lambda row: f"{row[0].relative:.3g}",
            "Networks \N{MULTIPLICATION SIGN} epochs": lambda row: (
                f"{row[0].networks} \N{MULTIPLICATION SIGN} {row[0].epochs}"
            ),
            "Teachers' epochs": lambda row: (
                str(row[0].teachers) if row[0].teachers or not row[0].files else wording.NOTHING
            ),
            "Networks at test": lambda row: str(row[2]),
            "Mean (%)": lambda row: wording.percent(row[3]),
            **{name: of_last(DIFFERENCE[name]) for name in shown},
        },
        caption=(
            f"Cost: epochs that a trial trains over those of {cell.baseline}: networks times epochs of each, and those "
            "of its teachers. Networks at test: how many answer for one image. Like with like are rows of the same "
            f"cost and as many networks at test. Difference: paired, from {cell.baseline}, over n seeds with both; CI "
            "as in the table of pairs. The mean of networks that never meet is what one of them reaches, and one costs "
            f"less. {picked(cell.several)}{_not_counted(cell.arms)}".rstrip()
        ),
        words={"Trial", "Verdict"},
    )


def gain_table(cell: CellSummary) -> Table:
    """How much of a gain is the weighing by information, how much the averaging, and what networks apart reach.

    Returns:
        One row a comparison; no rows where no arm with several networks has a control.
    """
    rows: list[tuple[str, Comparison]] = []
    by_label = {own.label: own for own in cell.several}
    for arm in cell.arms:
        averaging, apart = arm.neutral_control, arm.apart_control
        if arm.networks == 1 or (averaging is None and apart is None):
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
            **{name: of_last(write) for name, write in DIFFERENCE.items()},
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


def _not_counted(arms: Sequence[ArmNumbers]) -> str:
    """What the cost leaves out, arm by arm."""
    files = [arm.label for arm in arms if arm.files]
    other = [arm.label for arm in arms if arm.own_model]
    told = ""
    if files:
        told += f" Teachers that are files are not counted: {', '.join(files)}."
    if other:
        told += f" Another network, of which an epoch is another price: {', '.join(other)}."
    return told
