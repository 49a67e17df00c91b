"""The blocks that the page is made of: figures, tables and settings, each in its own scrolling box."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import cast

from regrow.report import wording
from regrow.report.drawing import Drawing, Place
from regrow.report.markup import Markup, element, joined
from regrow.report.table import Table
from regrow.study.keys import flat

Drawn = Sequence[tuple[Drawing, bytes]]
"""Figures, each with its SVG."""


def figures_at(drawn: Drawn, place: Place, of: str = "") -> list[Markup]:
    """Set the figures of one place, inlined, each with its caption."""
    return [_figure(one, svg) for one, svg in drawn if (one.place, one.of) == (place, of)]


def _figure(drawing: Drawing, svg: bytes) -> Markup:
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
    image = element("img", src=source, alt=f"{drawing.alt} {drawing.caption}", loading="lazy")
    return element(
        "figure",
        scroll_box(image, label=drawing.title, class_=f"drawing{' wide' * drawing.wide}"),
        element(
            "figcaption", element("b", f"{drawing.title}. "), wording.unbroken(drawing.caption)
        ),
        class_="full" if drawing.wide else "half",
    )


def table_block(table: Table, *, title: str) -> Markup:
    """Set a table, headings marked as such, with its caption.

    Args:
        title: What the box is called for those who do not see it.
    """
    head = _row(table, table.columns, head=True)
    rows = [_row(table, row) for row in table.rows]
    return element(
        "figure",
        scroll_box(element("table", element("thead", head), element("tbody", *rows)), label=title),
        element("figcaption", wording.unbroken(table.caption)),
    )


def _row(table: Table, texts: Sequence[str], *, head: bool = False) -> Markup:
    """One row: every text of the head is a heading, and the first of any other."""
    cells: list[Markup] = []
    for index, text in enumerate(texts):
        heading = {"scope": "col" if head else "row"} if head or index == 0 else {}
        looks = {"class": "word"} if index in table.words else {}
        cells.append(element("th" if heading else "td", text, attributes=heading | looks))
    return element("tr", *cells)


def titled(title: str, table: Table, *, label: str = "", most: int | None = None) -> Markup:
    """Set a table under its title; nothing without rows.

    Args:
        label: What the box is called for those who do not see it; empty: the title.
        most: Rows above which the table is folded up at first; None: it never is.
    """
    if not table.rows:
        return Markup("")
    block = table_block(table, title=label or title)
    if most is not None and len(table.rows) > most:
        block = folded(wording.count(len(table.rows), "row"), block)
    return joined(element("h3", title), block)


def folded(summary: str, *inside: Markup) -> Markup:
    """Fold something up behind a line that tells what it is."""
    return element("details", element("summary", summary), *inside)


def section(title: str, *parts: str, anchor: str) -> Markup:
    """Set a section of the page, to which a link can lead."""
    return element("section", element("h2", title, id=anchor), *parts)


def verdict_block(arm: str, headline: str, text: str, *, outcome: str) -> Markup:
    """Set what was found of an arm, in the colour of its outcome."""
    return element(
        "div",
        element("h3", f"{arm}: ", element("span", headline, class_="outcome")),
        element("p", wording.unbroken(text)),
        class_=f"verdict {outcome.replace(' ', '-')}",
    )


def scroll_box(inside: Markup, *, label: str, class_: str = "") -> Markup:
    """Put something wide into a box that scrolls by itself, so that the page never does sideways.

    Args:
        label: What the box is called for those who do not see it; the keyboard reaches it.
    """
    return element(
        "div",
        inside,
        class_=f"scroll {class_}".strip(),
        attributes={"role": "region", "aria-label": label, "tabindex": "0"},
    )


def settings_block(rows: Mapping[str, str], *, title: str) -> Markup:
    """Set names and values in two columns.

    Args:
        title: What the box is called for those who do not see it.
    """
    body = [
        element("tr", element("th", key, scope="row"), element("td", element("code", value)))
        for key, value in rows.items()
    ]
    table = element("table", element("tbody", *body), class_="settings")
    return scroll_box(table, label=title)


def settings_of(document: Mapping[str, object]) -> dict[str, str]:
    """Write nested settings by dotted key; what is unset or empty is left out.

    Examples:
        >>> settings_of({"train": {"lr": 0.03, "clip": None}, "seeds": [0, 1, 2, 3]})
        {'train.lr': '0.03', 'seeds': '0 to 3'}
    """
    every = flat(document)
    return {key: _written(value) for key, value in every.items() if value not in (None, [], {})}


def _written(value: object) -> str:
    if isinstance(value, list):
        items = cast("list[object]", value)
        whole = [item for item in items if isinstance(item, int)]
        run = len(whole) == len(items) > 3 and whole == [*range(whole[0], whole[0] + len(whole))]
        return f"{whole[0]} to {whole[-1]}" if run else ", ".join(_written(item) for item in items)
    return value if isinstance(value, str) else json.dumps(value)
