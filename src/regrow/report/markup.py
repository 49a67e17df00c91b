"""HTML from nested calls, with every string escaped unless it is markup already."""

from __future__ import annotations

from html import escape
from typing import Final

_VOID: Final = frozenset({"img", "meta", "link", "br", "hr"})


class Markup(str):
    """Text that is HTML already: made by `element` alone."""

    __slots__ = ()


def element(
    name: str, *children: str, attributes: dict[str, str] | None = None, **more: str
) -> Markup:
    """Write one element.

    Examples:
        >>> element("p", "a < b", element("b", "c"), class_="note")
        '<p class="note">a &lt; b<b>c</b></p>'
    """
    every = {key.rstrip("_"): value for key, value in more.items()} | (attributes or {})
    opening = "".join(f' {key}="{escape(value)}"' for key, value in every.items())
    if name in _VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Put pieces one after the other.

    Examples:
        >>> joined("<", element("br"))
        '&lt;<br>'
    """
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children))
