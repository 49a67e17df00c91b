"""Every seed is a mark, and no mark hides another."""

from __future__ import annotations

from pathlib import Path

import pytest

from regrow.report.figures import distribution
from regrow.report.figures.distribution import spread
from regrow.report.read import read_results
from report.drawn import caption, first_axes


def test_every_accuracy_is_drawn_in_its_column(partial: Path) -> None:
    results = read_results(partial)
    cell = "train.lr=0.03"
    ax = first_axes(distribution.figures(results, cell))
    for index, arm in enumerate(("none", "randomout", "random")):
        trials = results.arm(cell, arm).values()
        expected = [100 * t.test_accuracy for t in trials if t.test_accuracy is not None]
        marks = [
            float(y)
            for line in ax.get_lines()
            if line.get_linestyle() == "None"
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
            if index - 0.31 <= float(x) <= index + 0.5
        ]
        assert sorted(marks) == pytest.approx(sorted(expected))
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == ["none\n (n=10)", "randomout\n (n=9)", "random\n (n=1)"]
    assert "n = 10 (none), 9 (randomout), 1 (random)" in caption(
        distribution.figures(results, cell)
    )


def test_equal_values_are_spread_apart_symmetrically_within_the_column() -> None:
    shifts = spread([50.0] * 50, height=1.0)
    assert len(set(shifts)) == 50
    assert sum(shifts) == pytest.approx(0.0, abs=1e-9)
    assert max(shifts) <= 0.34
    assert spread([1.0, 5.0, 1.01, 0.99], height=0.5) == [0.0, 0.0, 0.08, -0.08]
    assert spread([50.0, 60.0], height=1.0) == [0.0, 0.0]
    assert spread([], height=1.0) == []
