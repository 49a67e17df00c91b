"""What the quick suite keeps of a product of rows."""

from __future__ import annotations

from typing import Any

from crossed import crossed, seldom


def _quick(found: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(each.values) for each in found if not each.marks]


def test_every_combination_is_there_and_every_value_is_quick_once() -> None:
    found = crossed("abcd", [1, 2, 3])
    assert len({tuple(each.values) for each in found}) == len(found) == 12
    assert _quick(found) == [("a", 1), ("b", 2), ("c", 3), ("d", 1)]


def test_what_is_seldom_is_slow_wherever_it_stands() -> None:
    found = crossed(seldom("abc", often="ac"), [1, 2], [True])
    assert _quick(found) == [("a", 1, True), ("c", 2, True)]
    assert {mark.name for each in found for mark in each.marks} == {"slow"}
