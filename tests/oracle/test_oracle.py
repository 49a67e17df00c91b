"""Small networks of many kinds: readers are who is named, and nothing is changed that somebody else uses."""

from __future__ import annotations

import pytest

from oracle.collection import NETWORKS
from oracle.programs import program
from oracle.rows import judge, measure

KNOWN: dict[str, str] = {}
"""Networks that are not right yet, and why."""

_MARKED = [
    pytest.param(
        name, marks=pytest.mark.xfail(reason=KNOWN[name], strict=True) if name in KNOWN else ()
    )
    for name in NETWORKS
]


@pytest.mark.parametrize("name", _MARKED)
def test_readers_are_right_and_nobody_is_harmed(name: str) -> None:
    row = measure(name)
    assert row["wrong"] == []
    assert row["harm"] == []
    assert row["renewals"] or not row["followed"], "what is followed is renewed"


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_are_right(seed: int) -> None:
    row = judge(program(seed))
    assert row["wrong"] == []
    assert row["harm"] == []
    assert row["judged"]
