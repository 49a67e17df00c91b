"""The figure of all cells shows the table's differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from regrow.report.drawing import MANY_CELLS
from regrow.report.figures import gains
from regrow.report.figures.order import drawings
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.write import rendered
from report.drawn import caption, drawn, first_axes


def test_marks_and_intervals_are_those_of_the_summary(partial: Path) -> None:
    results = read_results(partial)
    ax = first_axes(gains.figures(results))
    found = summarise(results).cells[0].comparison("randomout", "none")
    assert found is not None
    numbers = found.numbers
    assert numbers.mean_difference is not None
    assert numbers.low is not None
    assert numbers.high is not None
    drawn = [
        float(x) for line in ax.get_lines() if line.get_marker() == "^" for x in line.get_xdata()
    ]
    assert drawn == pytest.approx([100 * numbers.mean_difference])
    (bar,) = ax.collections
    (ends,) = (path.vertices[:, 0] for path in bar.get_paths())
    assert list(ends) == pytest.approx([100 * numbers.low, 100 * numbers.high])
    assert [text.get_text() for text in ax.get_yticklabels()] == list(results.cells)
    assert "n = 0 to 9 pairs each" in caption(gains.figures(results))


def test_long_names_of_cells_leave_room_for_the_differences_on_a_narrow_screen(
    rescued: Path,
) -> None:
    results = read_results(rescued)
    long = "arms.randomout.settings.active_fraction"
    cells = [f"{long}={k},train.lr=0.1" for k in (0.25, 0.5)]
    trials = tuple(replace(t, cell=cell) for cell in cells for t in results.trials[:9])
    by_cell = dict.fromkeys(cells, results.study.by_cell["base"])
    grid = replace(results, trials=trials, study=replace(results.study, by_cell=by_cell))
    (drawing,) = gains.figures(grid)
    assert drawing.narrow is not None
    narrow = replace(drawing, size=drawing.narrow)
    (wide_names, names) = (
        [text.get_text() for text in first_axes([each]).get_yticklabels()]
        for each in (drawing, narrow)
    )
    assert wide_names == cells
    assert [name.split("active_fraction=")[1] for name in names] == [
        f"{k},\ntrain.lr=0.1" for k in (0.25, 0.5)
    ]
    rendered(narrow)  # matplotlib warns where nothing is left of the axes
    figure = drawn(narrow)
    figure.draw_without_rendering()
    (legend,) = (*figure.legends, *filter(None, (ax.get_legend() for ax in figure.axes)))
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_one_cell_needs_no_such_figure(rescued: Path, partial: Path) -> None:
    assert drawings(read_results(rescued))[0].name == "base-sorted"
    assert drawings(read_results(partial))[0].name == "gains"


def test_many_cells_draw_the_sorted_seeds_alone(rescued: Path) -> None:
    results = read_results(rescued)
    cells = [f"x={k}" for k in range(MANY_CELLS + 1)]
    trials = tuple(replace(t, cell=cell) for cell in cells for t in results.trials[:3])
    by_cell = dict.fromkeys(cells, results.study.by_cell["base"])
    many = replace(results, trials=trials, study=replace(results.study, by_cell=by_cell))
    names = [drawing.name for drawing in drawings(many)]
    assert names == ["gains", *(f"{cell}-sorted" for cell in cells)]
