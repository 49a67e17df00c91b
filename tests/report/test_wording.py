"""Numbers at the edges of their formats."""

from __future__ import annotations

import pytest

from regrow.report import wording


@pytest.mark.parametrize(
    ("p", "written"),
    [(0.00099, "< 0.001"), (0.001, "0.001"), (0.0994, "0.099"), (0.0995, "0.10"), (1.0, "1.00")],
)
def test_p_values(p: float, written: str) -> None:
    assert wording.p_value(p) == written


def test_zero_has_no_sign_and_minus_is_a_minus() -> None:
    assert wording.points(-0.00001) == "0.0"
    assert wording.points(-0.0123) == "\N{MINUS SIGN}1.2"
    assert wording.percent(-0.0) == "0.0"


def test_an_interval_that_excludes_zero_never_reads_as_if_it_touched_it() -> None:
    assert wording.interval(0.0004, 0.1) == "+0.04 to +10.0"
    assert wording.interval(-0.1, -0.00004) == "\N{MINUS SIGN}10.0 to \N{MINUS SIGN}0.004"
    assert wording.interval(0.0, 0.0) == "0.0 to 0.0"
    assert wording.interval(None, None) == wording.NOTHING
