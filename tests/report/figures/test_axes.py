"""Labels as they were written, legends in as few rows as fit."""

from __future__ import annotations

from matplotlib.figure import Figure

from regrow.report.figures.axes import columns_that_fit, shown


def test_labels_are_shown_as_they_are() -> None:
    figure = Figure()
    text = figure.text(0.5, 0.5, shown("_cost $5 and $6\n_x"))
    assert text.get_text() == r" _cost \$5 and \$6 _x"
    figure.draw_without_rendering()


def test_legends_take_as_few_rows_as_fit() -> None:
    assert columns_that_fit([4, 4, 4], width=500) == 3
    assert columns_that_fit([40, 40, 40], width=250) == 1
    assert columns_that_fit([], width=100) == 1
