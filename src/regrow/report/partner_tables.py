"""The tables of trials that train several networks: each of them, all as one, and what that costs."""

from __future__ import annotations

from typing import Final

from regrow.report import wording
from regrow.report.findings import CellSummary
from regrow.report.price_tables import cost_table, gain_table
from regrow.report.several import WAYS, picked
from regrow.report.table import Table

_AS_ONE: Final = (
    "Ensemble: the mean of the networks' probabilities. Mean weights: one network with the mean of their weights, the "
    "statistics of its norms measured anew on training images."
)


def partner_tables(cell: CellSummary) -> tuple[tuple[str, str, Table], ...]:
    """All of them for one cell.

    Args:
        cell: The cell's numbers.

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
    """What the networks of a trial reach, and what they are as one.

    Args:
        cell: The cell's numbers.

    Returns:
        One row an arm with several networks.
    """
    rows = [
        (
            own.label,
            str(own.networks),
            str(own.n),
            wording.percent(own.mean),
            wording.percent(own.spread),
            *(wording.percent(own.mean_of(way)) for way in WAYS),
        )
        for own in cell.several
    ]
    return Table(
        caption=(
            "Test accuracy after the last epoch, over n trials. Mean: over the networks of a trial, which is the "
            f"trial's accuracy. Spread: largest minus smallest of a trial's networks. {picked(cell.several)}{_AS_ONE}"
        ),
        columns=(
            "Arm",
            "Networks",
            "n",
            "Mean (%)",
            "Spread (points)",
            "Best (%)",
            "Mean weights (%)",
            "Ensemble (%)",
        ),
        rows=tuple(rows),
    )


def each_table(cell: CellSummary) -> Table:
    """What each network of an arm reached.

    Args:
        cell: The cell's numbers.

    Returns:
        One row a network.
    """
    return Table(
        caption=(
            "Test accuracy of each network after the last epoch, over n trials; SD: standard deviation over them. "
            "Learning rate: before any schedule. Network 0 starts from the weights of the arms with one network, and "
            "sees the same batches."
        ),
        columns=("Arm", "Network", "Learning rate", "n", "Mean (%)", "SD (points)"),
        rows=tuple(
            (
                own.label,
                str(partner.number),
                ", ".join(f"{rate:.4g}" for rate in partner.rates),
                str(partner.n),
                wording.percent(partner.mean),
                wording.percent(partner.std),
            )
            for own in cell.several
            for partner in own.partners
        ),
    )
