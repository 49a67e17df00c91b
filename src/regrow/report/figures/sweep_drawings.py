"""The figures of a sweep: one heat map a panel, and the sorted seeds of the cell that it chooses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from regrow.report.figures.drawing import Drawing
from regrow.report.figures.heat_map import caption_heat_map, plot_heat_map
from regrow.report.figures.held_back import caption_held_back, plot_held_back
from regrow.report.sweep.panel import Panel
from regrow.study.results import Results


def sweep_drawings(results: Results, panels: Sequence[Panel]) -> list[Drawing]:
    """The figures of all panels.

    Args:
        results: What was read.
        panels: What was found.

    Returns:
        Panel by panel.
    """
    found: list[Drawing] = []
    for panel in panels:
        chosen = panel.chosen[0] if panel.chosen and panel.against_baseline else None
        found.append(
            Drawing(
                name=f"{panel.key}-map",
                cell=None,
                panel=panel.key,
                title=f"Gain of {panel.arm} over {panel.versus} and failed seeds in every cell",
                caption=caption_heat_map(panel),
                alt=f"Two heat maps over {panel.x.setting} and {panel.y.setting}, a number in each cell.",
                wide=True,
                draw=partial(plot_heat_map, panel),
            )
        )
        if chosen is not None and chosen.after.numbers.both:
            found.append(
                Drawing(
                    name=f"{panel.key}-pairs",
                    cell=None,
                    panel=panel.key,
                    title="The chosen cell, seed by seed, on the seeds that did not choose it",
                    caption=caption_held_back(panel, chosen),
                    alt="Scatter plot of test accuracy by seed, one mark an arm.",
                    wide=True,
                    draw=partial(plot_held_back, results, chosen),
                )
            )
    return found
