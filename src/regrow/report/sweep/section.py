"""The sections of a page that show a sweep, one a panel."""

from __future__ import annotations

from collections.abc import Sequence

from regrow.report import blocks, wording
from regrow.report.blocks import Drawn, figures_at, folded, table_block, titled, verdict_block
from regrow.report.markup import Markup, element
from regrow.report.sweep.panel import Panel
from regrow.report.sweep.tables import best_table, cells_table, panels_table
from regrow.report.sweep.told import choice, findings, headline, outcome


def title(panel: Panel) -> str:
    """The title of a panel's section.

    Returns:
        What is not swept, as in the names of cells; else what is.
    """
    swept = f"{panel.arm} over {panel.y.setting} and {panel.x.setting}"
    name = swept if panel.name == "base" else panel.name
    return name if panel.against_baseline else f"{name}, against {panel.versus}"


def overview(panels: Sequence[Panel]) -> list[Markup]:
    """Set all panels at one glance."""
    if len(panels) < 2:
        return []
    table = table_block(panels_table(panels), title="All panels")
    return [blocks.section("All panels", table, anchor="panels")]


def section(panel: Panel, number: int, drawn: Drawn) -> Markup:
    """Set one panel: what it shows in words, the heat maps, the chosen cell, and every cell's numbers."""
    rows = wording.count(len(panel.cells), "cell")
    every = table_block(cells_table(panel), title="Every cell")
    words = " ".join(findings(panel))
    return blocks.section(
        title(panel),
        verdict_block(panel.arm, headline(panel), words, outcome=outcome(panel)),
        *figures_at(drawn, "panel", panel.key),
        element("h3", "The best cell, without picking on the test"),
        element("p", wording.unbroken(" ".join(choice(panel)))),
        *figures_at(drawn, "choice", panel.key),
        titled("The largest gains", best_table(panel)),
        element("h3", "Every cell"),
        folded(rows, every),
        anchor=f"panel-{number}",
    )


def method(panels: Sequence[Panel]) -> str:
    """Say how a sweep is told."""
    if not panels:
        return ""
    return (
        "A panel shows every combination of two settings of one arm. The cells of a panel share their seeds, and the "
        "largest of many means is too large by the picking: the verdict of a panel is that of the cell with the "
        "largest mean gain over the seeds at even places, measured on the seeds at odd places."
    )
