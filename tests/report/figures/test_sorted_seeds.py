"""Each seed's marks stand at its place, with its accuracy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regrow.report.figures import sorted_seeds
from regrow.report.figures.axes import failed_line, seed_order
from regrow.report.read import read_results
from report.drawn import drawn, first_axes

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]


def test_seeds_are_sorted_by_the_baseline(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(6))
    for seed, accuracy in {0: 0.9, 1: 0.7, 2: 0.7, 3: 0.8}.items():
        run.add("none", seed, accuracy)
    run.add("none", 4, None, status="crashed")
    run.add("randomout", 5, 0.9)
    results = read_results(run.close())
    assert seed_order(results, "base") == [4, 1, 2, 3, 0, 5]


def test_marks_hold_the_accuracies_in_that_order(rescued: Path) -> None:
    results = read_results(rescued)
    ax = first_axes(sorted_seeds.figures(results, "base"))
    order = seed_order(results, "base")
    lines = [line for line in ax.get_lines() if len(line.get_xdata()) == 24]
    assert len(lines) == 3
    for line, arm in zip(lines, ("none", "randomout", "random"), strict=True):
        trials = results.arm("base", arm)
        drawn = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        places = sorted(drawn, key=float)
        assert [round(float(x)) for x in places] == list(range(1, 25))
        expected = [100 * (trials[seed].test_accuracy or 0.0) for seed in order]
        assert [float(drawn[x]) for x in places] == pytest.approx(expected)
    assert [text.get_text() for text in ax.get_xticklabels()] == [str(seed) for seed in order]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "none",
        "randomout",
        "random",
        "failed: 52.0 % or less",
    ]


def test_every_mark_lies_within_the_axes(partial: Path) -> None:
    results = read_results(partial)
    for cell in results.cells:
        ax = first_axes(sorted_seeds.figures(results, cell))
        low, high = ax.get_ylim()
        for trial in results.trials:
            if trial.cell == cell and trial.test_accuracy is not None:
                assert low < 100 * trial.test_accuracy < high


def test_crashed_seeds_are_crosses_at_the_lower_edge_and_in_the_caption(partial: Path) -> None:
    results = read_results(partial)
    (found,) = sorted_seeds.figures(results, "train.lr=0.03")
    ax = drawn(found).axes[0]
    crosses = [line for line in ax.get_lines() if line.get_marker() == "x"]
    assert [list(line.get_ydata()) for line in crosses] == [[ax.get_ylim()[0]]]
    assert "n = 10 seeds, 1 of them with every arm" in found.caption
    assert "1 crashed" in found.caption


def test_the_failed_line_is_the_majority_plus_two_points(rescued: Path) -> None:
    assert failed_line(read_results(rescued), "base") == pytest.approx(0.52)
