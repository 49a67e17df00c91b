"""The tables of a sweep: every cell of a panel, its best cells, and all panels at one glance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from regrow.report import wording
from regrow.report.sweep.panels import Chosen, Panel, SweepCell
from regrow.report.table import OUTCOMES, Table, table_of

BEST: Final = 5  # how many cells are named on a terminal


def cells_table(panel: Panel) -> Table:
    """Every cell of a panel."""
    return _table(
        panel,
        panel.cells,
        caption=(
            f"Every cell: mean paired gain of {panel.arm} over {panel.versus} in test accuracy over n seeds with both, "
            "and its 95 % bootstrap interval (bias-corrected and accelerated, 9999 resamples). Failed: of the seeds "
            "that ended under both, crashed ones included. Renewed: filters per trial."
        ),
    )


def best_table(panel: Panel) -> Table:
    """The cells with the largest mean gains."""
    ranked = sorted(panel.measured, key=lambda cell: -(cell.gain or 0.0))[:BEST]
    return _table(
        panel,
        ranked,
        caption=(
            f"The {wording.count(len(ranked), 'cell')} of {len(panel.cells)} with the largest mean gain of "
            f"{panel.arm} over {panel.versus}: too large by the picking."
        ),
    )


def panels_table(panels: Sequence[Panel]) -> Table:
    """All panels at one glance: one row a panel."""

    def outcomes(panel: Panel, what: str) -> int:
        return sum(cell.comparison.outcome == what for cell in panel.cells)

    def of_chosen(write: Callable[[Panel, Chosen], str]) -> Callable[[Panel], str]:
        return lambda panel: write(panel, panel.chosen[0]) if panel.chosen else wording.NOTHING

    return table_of(
        panels,
        {
            "Panel": lambda panel: "all" if panel.name == "base" else panel.name,
            "Versus": lambda panel: panel.versus,
            "Cells": lambda panel: f"{len(panel.measured)} of {len(panel.cells)}",
            "n": lambda panel: pairs(panel.measured),
            "Mean of all cells (points)": lambda panel: wording.points(panel.mean_gain),
            "Above / below 0": lambda panel: (
                f"{outcomes(panel, 'gain')} / {outcomes(panel, 'harm')}"
            ),
            "Chosen cell": of_chosen(lambda panel, chosen: panel.place(chosen.cell)),
            "Its gain, held back (points)": of_chosen(
                lambda _, chosen: wording.points(chosen.after.numbers.mean_difference)
            ),
            "95 % CI (points)": of_chosen(
                lambda _, chosen: wording.interval(
                    chosen.after.numbers.low, chosen.after.numbers.high
                )
            ),
        },
        caption=(
            "Above and below 0: cells whose 95 % interval of the mean paired gain excludes 0. Chosen: on the seeds at "
            "even places, by the largest mean gain; its gain is that of the seeds at odd places, which did not choose."
        ),
        words={"Panel", "Versus", "Chosen cell"},
    )


def pairs(cells: Sequence[SweepCell]) -> str:
    """The numbers of pairs of cells, such as "50" or "12 to 50"; "0" without a cell."""
    return wording.span([cell.numbers.n for cell in cells] or [0])


def _table(panel: Panel, cells: Sequence[SweepCell], *, caption: str) -> Table:
    return table_of(
        cells,
        {
            panel.y.setting: lambda cell: str(cell.y),
            panel.x.setting: lambda cell: str(cell.x),
            "n": lambda cell: str(cell.numbers.n),
            f"Failed under {panel.versus}": lambda cell: str(cell.numbers.failed_b),
            f"Failed under {panel.arm}": lambda cell: str(cell.numbers.failed_a),
            "Renewed": lambda cell: wording.decimal(cell.renewed),
            "Mean gain (points)": lambda cell: wording.points(cell.numbers.mean_difference),
            "95 % CI (points)": lambda cell: wording.interval(cell.numbers.low, cell.numbers.high),
            "Verdict": lambda cell: (
                OUTCOMES[cell.comparison.outcome] if cell.numbers.n else "no pair yet"
            ),
        },
        caption=caption,
        words={"Verdict"},
    )
