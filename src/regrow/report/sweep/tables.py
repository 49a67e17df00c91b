"""The tables of a sweep: every cell of a panel, its best cells, and all panels at one glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from regrow.report import wording
from regrow.report.sweep.panel import Panel, SweepCell
from regrow.report.table import OUTCOMES, Table

BEST: Final = 5
"""How many cells are named on a terminal."""


def cells_table(panel: Panel) -> Table:
    """Every cell of a panel.

    Args:
        panel: The panel.

    Returns:
        One row a cell, those without a pair included.
    """
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
    """The cells with the largest mean gains.

    Args:
        panel: The panel.

    Returns:
        One row a cell, the best first; at most five.
    """
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
    """All panels of a study.

    Args:
        panels: The panels.

    Returns:
        One row a panel.
    """
    return Table(
        caption=(
            "Above and below 0: cells whose 95 % interval of the mean paired gain excludes 0. Chosen: on the seeds at "
            "even places, by the largest mean gain; its gain is that of the seeds at odd places, which did not choose."
        ),
        columns=(
            "Panel",
            "Versus",
            "Cells",
            "n",
            "Mean of all cells (points)",
            "Above / below 0",
            "Chosen cell",
            "Its gain, held back (points)",
            "95 % CI (points)",
        ),
        rows=tuple(_panel_row(panel) for panel in panels),
        words=frozenset({0, 1, 6}),
    )


def _panel_row(panel: Panel) -> tuple[str, ...]:
    chosen = panel.chosen[0] if panel.chosen else None
    after = None if chosen is None else chosen.after.numbers
    outcomes = [cell.comparison.outcome for cell in panel.cells]
    return (
        "all" if panel.name == "base" else panel.name,
        panel.versus,
        f"{len(panel.measured)} of {len(panel.cells)}",
        pairs(panel.measured),
        wording.points(panel.mean_gain),
        f"{outcomes.count('gain')} / {outcomes.count('harm')}",
        wording.NOTHING if chosen is None else panel.place(chosen.cell),
        wording.points(None if after is None else after.mean_difference),
        wording.NOTHING if after is None else wording.interval(after.low, after.high),
    )


def pairs(cells: Sequence[SweepCell]) -> str:
    """The numbers of pairs of cells, such as "50" or "12 to 50"; "0" without a cell."""
    return wording.span([cell.numbers.n for cell in cells] or [0])


def _table(panel: Panel, cells: Sequence[SweepCell], *, caption: str) -> Table:
    return Table(
        caption=caption,
        columns=(
            panel.y.setting,
            panel.x.setting,
            "n",
            f"Failed under {panel.versus}",
            f"Failed under {panel.arm}",
            "Renewed",
            "Mean gain (points)",
            "95 % CI (points)",
            "Verdict",
        ),
        rows=tuple(_row(cell) for cell in cells),
        words=frozenset({8}),
    )


def _row(cell: SweepCell) -> tuple[str, ...]:
    numbers = cell.numbers
    return (
        str(cell.y),
        str(cell.x),
        str(numbers.n),
        str(cell.failed_without),
        str(cell.failed),
        wording.NOTHING if cell.renewed is None else f"{cell.renewed:.1f}",
        wording.points(numbers.mean_difference),
        wording.interval(numbers.low, numbers.high),
        OUTCOMES[cell.comparison.outcome] if numbers.n else "no pair yet",
    )
