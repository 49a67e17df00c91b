"""The tables of trials that train several networks: each, all as one, what that costs, where a gain comes from.

Called by the page, the export and the command line with what `summary` computed of one cell; hands on plain tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from regrow.report import wording
from regrow.report.findings import ArmNumbers, CellSummary, Comparison
from regrow.report.several import WAYS, Several, picked
from regrow.report.table import Table, both, last_differences, table_of
from regrow.report.unit import ACCURACY

_AS_ONE: Final = (
    "Ensemble: the mean of the networks' probabilities. Mean weights: one network with the mean of their weights, the "
    "statistics of its norms measured anew on training images."
)

_AGAINST: Final = {
    "best": "against the best of as many",
    "mean weights": "against averaging once, at the end",
    "ensemble": "against their ensemble",
}


Priced = tuple[ArmNumbers, str, int, float | None, Comparison | None]
"""An arm, what is tested, with how many networks, its mean, and how it differs from the baseline."""


def partner_tables(cell: CellSummary) -> tuple[tuple[str, str, Table], ...]:
    """All of them for one cell that have rows: name of its file, title, table."""
    every = (
        ("networks", "Networks of a trial", networks_table(cell)),
        ("partners", "Each network", each_table(cell)),
        ("cost", "At equal cost", cost_table(cell)),
        ("gain", "Where a gain comes from", gain_table(cell)),
    )
    return tuple(entry for entry in every if entry[2].rows)


def networks_table(cell: CellSummary) -> Table:
    """What the networks of a trial reach, and what they are as one: one row an arm with several networks."""

    def of_way(way: str) -> Callable[[Several], str]:
        return lambda own: wording.percent(own.mean_of(way))

    return table_of(
        cell.several,
        {
            "Arm": lambda own: own.label,
            "Networks": lambda own: str(own.networks),
            "n": lambda own: str(own.n),
            "Mean (%)": lambda own: wording.percent(own.mean),
            "Spread (points)": lambda own: wording.percent(own.spread),
            **{f"{way.capitalize()} (%)": of_way(way) for way in WAYS},
        },
        caption=(
            "Test accuracy after the last epoch, over n trials. Mean: over the networks of a trial, which is the "
            f"trial's accuracy. Spread: largest minus smallest of a trial's networks. {picked(cell.several)}{_AS_ONE}"
        ),
    )


def each_table(cell: CellSummary) -> Table:
    """What each network of an arm reached: one row a network."""
    return table_of(
        [(own.label, partner) for own in cell.several for partner in own.partners],
        {
            "Arm": lambda row: row[0],
            "Network": lambda row: str(row[1].number),
            "Learning rate": lambda row: ", ".join(f"{rate:.4g}" for rate in row[1].rates),
            "n": lambda row: str(row[1].n),
            "Mean (%)": lambda row: wording.percent(row[1].mean),
            "SD (points)": lambda row: wording.percent(row[1].std),
        },
        caption=(
            "Test accuracy of each network after the last epoch, over n trials; SD: standard deviation over them. "
            "Learning rate: before any schedule. Network 0 starts from the weights of the arms with one network, and "
            "sees the same batches."
        ),
    )


def cost_table(cell: CellSummary) -> Table:
    """What every arm, and its networks as one, costs beside what it reaches; no rows where all cost the same."""
    if all(arm.relative == 1.0 for arm in cell.arms):
        return Table(caption="", columns=("Trial",), rows=())
    rows: list[Priced] = []
    for arm in cell.arms:
        title = arm.label if arm.networks == 1 else f"{arm.label}: mean of {arm.networks}"
        whole = cell.comparison(arm.label, cell.baseline)
        rows.append((arm, title, 1, arm.accuracy.mean, whole))
        own = cell.joined(arm.label)
        if own is None:
            continue
        for way in own.together:
            name, tested = own.name(way), own.networks if way == "ensemble" else 1
            as_one = cell.comparison(name, cell.baseline)
            rows.append((arm, name, tested, own.mean_of(way), as_one))
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
            **last_differences(ACCURACY, "n", "Difference", "95 % CI", "Verdict"),
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
    """How much of a gain is weighing, averaging, or that networks meet; no rows without a control for it."""
    rows: list[tuple[str, Comparison]] = []
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
            asked += _against_apart(cell, arm.label, apart)
        rows += [(what, found) for what, found in asked if found is not None]
    return table_of(
        rows,
        {
            "Comparison": lambda row: both(row[1]),
            "What it shows": lambda row: row[0],
            **last_differences(ACCURACY),
        },
        caption=(
            "Paired differences of test accuracy, first minus second, over n seeds with both; CI as in the table of "
            "pairs. Weighing by information: from the same arm with amplitude = 0, which averages half and half. "
            "Networks that never meet: as many, trained in the same way."
        ),
        words={"Comparison", "What it shows", "Verdict"},
    )


def _against_apart(cell: CellSummary, arm: str, apart: str) -> list[tuple[str, Comparison | None]]:
    """What the networks of an arm are worth beside as many that never meet."""
    own, other = cell.joined(arm), cell.joined(apart)
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
