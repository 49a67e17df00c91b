"""The sections of a page that show a sweep, one a panel."""

from __future__ import annotations

from collections.abc import Sequence

from regrow.report import wording
from regrow.report.blocks import Drawn, figures_at, table_block
from regrow.report.markup import Markup, element
from regrow.report.sweep.panel import Panel
from regrow.report.sweep.tables import best_table, cells_table, panels_table
from regrow.report.sweep.told import choice, findings, headline, outcome


def title(panel: Panel) -> str:
    """The title of a panel's section.

    Args:
        panel: The panel.

    Returns:
        What is not swept, as in the names of cells; else what is.
    """
    swept = f"{panel.arm} over {panel.y.setting} and {panel.x.setting}"
    name = swept if panel.name == "base" else panel.name
    return name if panel.against_baseline else f"{name}, against {panel.versus}"


def overview(panels: Sequence[Panel]) -> list[Markup]:
    """Set all panels at one glance.

    Args:
        panels: The panels.

    Returns:
        A section; nothing below two panels.
    """
    if len(panels) < 2:
        return []
    table = table_block(panels_table(panels), title="All panels")
    return [element("section", element("h2", "All panels", id="panels"), table)]


def section(panel: Panel, number: int, drawn: Drawn) -> Markup:
    """Set one panel: what it shows in words, the heat maps, the chosen cell, and every cell's numbers.

    Args:
        panel: The panel.
        number: Its place among the panels.
        drawn: The figures of the page, each with its SVG.

    Returns:
        The section.
    """
    parts: list[Markup] = [
        element("h2", title(panel), id=f"panel-{number}"),
        element(
            "div",
            element("h3", f"{panel.arm}: ", element("span", headline(panel), class_="outcome")),
            element("p", wording.unbroken(" ".join(findings(panel)))),
            class_=f"verdict {outcome(panel).replace(' ', '-')}",
        ),
        *figures_at(drawn, "panel", panel.key),
    ]
    parts += [
        element("h3", "The best cell, without picking on the test"),
        element("p", wording.unbroken(" ".join(choice(panel)))),
        *figures_at(drawn, "choice", panel.key),
    ]
    if panel.measured:
        parts += [
            element("h3", "The largest gains"),
            table_block(best_table(panel), title="The largest gains"),
        ]
    rows = element("summary", wording.count(len(panel.cells), "cell"))
    every = table_block(cells_table(panel), title="Every cell")
    parts += [element("h3", "Every cell"), element("details", rows, every)]
    return element("section", *parts)


def method(panels: Sequence[Panel]) -> str:
    """Say how a sweep is told.

    Args:
        panels: The panels.

    Returns:
        Two sentences; empty without a panel.
    """
    if not panels:
        return ""
    return (
        "A panel shows every combination of two settings of one arm. The cells of a panel share their seeds, and the "
        "largest of many means is too large by the picking: the verdict of a panel is that of the cell with the "
        "largest mean gain over the seeds at even places, measured on the seeds at odd places."
    )
