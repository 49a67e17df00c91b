"""Labels as they were written, legends in as few rows as fit."""

from __future__ import annotations

from matplotlib.figure import Figure

from regrow.report.figures.axes import columns_that_fit, quartiles, shortened, shown
from regrow.report.figures.style import even


def test_labels_are_shown_as_they_are() -> None:
    figure = Figure()
    text = figure.text(0.5, 0.5, shown("_cost $5 and $6\n_x"))
    assert text.get_text() == r" _cost \$5 and \$6 _x"
    figure.draw_without_rendering()


def test_legends_take_as_few_rows_as_fit() -> None:
    assert columns_that_fit([4, 4, 4], width=500) == 3
    assert columns_that_fit([40, 40, 40], width=250) == 1
    assert columns_that_fit([], width=100) == 1
    assert columns_that_fit([4, 9, 6, 22], width=250.0) == 2
    assert columns_that_fit([4] * 6, width=280.0) == 3


def test_long_names_are_cut_at_their_front() -> None:
    found = shortened("conv1", 8), shortened("features.conv1", 8)
    assert found == ("conv1", "\N{HORIZONTAL ELLIPSIS}s.conv1")


def test_quartiles_and_even_distances() -> None:
    assert quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)
    assert [even(0.0, 1.0, number) for number in (3, 1, 0)] == [[0.0, 0.5, 1.0], [1.0], []]
