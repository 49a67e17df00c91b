"""Templates: a gap that nothing fills is an error, and a page takes every text as text."""

from __future__ import annotations

from importlib.resources import files

import pytest
from jinja2 import UndefinedError

from regrow.report.template import filled


@pytest.mark.parametrize("name", ["page.html", "health.html", "readme.md"])
def test_a_gap_that_nothing_fills_is_an_error(name: str) -> None:
    with pytest.raises(UndefinedError, match="is undefined"):
        filled(name)


@pytest.mark.parametrize("name", ["base.html", "parts.html", "page.html", "health.html"])
def test_no_text_is_taken_as_markup(name: str) -> None:
    """Whatever is written on a page goes through the escaping: no template switches it off."""
    text = files("regrow.report").joinpath(name).read_text(encoding="utf-8")
    assert "safe" not in text
    assert "autoescape" not in text
