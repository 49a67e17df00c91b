"""The tables of trials that train several networks: each of them, all as one, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from regrow.report import wording
from regrow.report.findings import CellSummary
from regrow.report.price_tables import cost_table, gain_table
from regrow.report.several import WAYS, Several, picked
from regrow.report.table import Table, table_of

_AS_ONE: Final = (
    "Ensemble: the mean of the networks' probabilities. Mean weights: one network with the mean of their weights, the "
    "statistics of its norms measured anew on training images."
)


def partner_tables(cell: CellSummary) -> tuple[tuple[str, str, Table], ...]:
    """All of them for one cell.

    Returns:
        Name of its file, title, table; tables without rows are left out.
    """
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
