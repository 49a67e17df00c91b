"""Numbers at the edges of their formats."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from regrow.report import wording
from regrow.report.drawing import file_name
from regrow.report.html import settings_of
from regrow.report.unit import ACCURACY, ERROR


@pytest.mark.parametrize(
    ("write", "number", "written"),
    [
        (wording.percent, 0.7531, "75.3"),
        (wording.percent, None, "\N{EN DASH}"),
        (wording.points, 0.125, "+12.5"),
        (wording.points, 0.0, "0.0"),
        (wording.points, None, "\N{EN DASH}"),
        (wording.decimal, 8.25, "8.2"),
        (wording.decimal, None, "\N{EN DASH}"),
        (wording.signed, 2.25, "+2.2"),
        (wording.signed, -0.0001, "0.0"),
        (wording.p_value, 0.0312, "0.031"),
        (wording.p_value, None, "\N{EN DASH}"),
        (wording.equals_p, 0.5, "p = 0.50"),
        (wording.equals_p, 1e-9, "p < 0.001"),
        (wording.span, [50, 12, 20], "12 to 50"),
        (wording.span, [8, 8], "8"),
        (wording.seconds, 0.25, "0.25 s"),
        (wording.seconds, 75.2, "75 s"),
        (wording.seconds, 5400, "90 min"),
        (wording.times, 2.0, "2 times"),
        (wording.times, 1.25, "1.25 times"),
        (ACCURACY.value, 0.7531, "75.3"),
        (ERROR.value, 0.7531, "0.753"),
        (ERROR.value, 2.5e8, "2.5e+08"),
        (ERROR.value, None, "\N{EN DASH}"),
        (ACCURACY.difference, 0.125, "+12.5"),
        (ERROR.difference, -0.125, "\N{MINUS SIGN}0.125"),
        (ERROR.difference, 0.0, "0.000"),
        (file_name, "data.name=npz:a/b.npz", "data.name=npz_a_b.npz"),
    ],
)
def test_numbers_as_they_are_written(
    write: Callable[[object], str], number: object, written: str
) -> None:
    assert write(number) == written


def test_counts_have_their_nouns_and_units_stay_with_their_numbers() -> None:
    assert (wording.count(1, "seed"), wording.count(24, "seed")) == ("1 seed", "24 seeds")
    assert wording.count(2, "loss", "losses") == "2 losses"
    assert (wording.decimal(8.25, digits=2), wording.signed(2.25, digits=2)) == ("8.25", "+2.25")
    assert wording.unbroken("n = 24, 5 %") == "n\u00a0=\u00a024, 5\u00a0%"
    found = settings_of({"train": {"lr": 0.03, "clip": None}, "seeds": [0, 1, 2, 3]})
    assert found == {"train.lr": "0.03", "seeds": "0 to 3"}


def test_of_errors_less_is_better() -> None:
    assert ACCURACY.interval(0.061, 0.189) == "+6.1 to +18.9"
    assert ERROR.interval(-0.2, -0.0004) == "\N{MINUS SIGN}0.200 to \N{MINUS SIGN}0.0004"
    sides = ACCURACY.is_better(0.1, 0.2), ERROR.is_better(0.1, 0.2), ERROR.is_better(-0.2, -0.1)
    assert sides == (True, False, True)
    assert (min([0.5, 0.25], key=ERROR.worth), max([0.5, 0.25], key=ERROR.worth)) == (0.5, 0.25)


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
