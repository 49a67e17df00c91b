"""Products of rows: the quick suite meets every row once, the slow one every combination."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import product
from typing import Any

import pytest

Parameters = type(pytest.param())


def seldom(values: Iterable[Any], *, often: Collection[Any]) -> list[Any]:
    """The values for `parametrize`: slow but for those that come often."""
    return [
        pytest.param(value, marks=() if value in often else pytest.mark.slow) for value in values
    ]


def pairs(one: Iterable[Any], other: Iterable[Any]) -> list[Any]:
    """An axis of two parameters, of which each combination is a value."""
    return [pytest.param(*each) for each in product(one, other)]


def crossed(*axes: Iterable[Any]) -> list[Any]:
    """Every combination for `parametrize`; quick are those on the diagonal, which has each value at least once.

    Axes that are shorter begin again. A value that is slow by itself, as `seldom` marks it, has no place on the
    diagonal.
    """
    columns = [
        [each if isinstance(each, Parameters) else pytest.param(each) for each in axis]
        for axis in axes
    ]
    quick = [[n for n, each in enumerate(column) if not _slow(each)] for column in columns]
    longest = max(map(len, quick))
    diagonal = {tuple(column[n % len(column)] for column in quick) for n in range(longest)}
    found = []
    for places in product(*(range(len(column)) for column in columns)):
        chosen = [column[n] for column, n in zip(columns, places, strict=True)]
        marks = {mark.name: mark for each in chosen for mark in each.marks}
        if places not in diagonal:
            marks["slow"] = pytest.mark.slow
        values = [value for each in chosen for value in each.values]
        name = "-".join(map(_name, values))
        found.append(pytest.param(*values, marks=tuple(marks.values()), id=name))
    return found


def _name(value: Any) -> str:
    return getattr(value, "__name__", str(value))


def _slow(each: Any) -> bool:
    return any(mark.name == "slow" for mark in each.marks)
