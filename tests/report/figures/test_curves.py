"""Medians over the seeds, and no survivor's bias."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regrow.report.figures import curves
from regrow.report.figures.curves import learning_curves
from regrow.report.read import read_results
from report.drawn import caption, first_axes

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]


def test_a_diverged_trial_is_continued_and_a_crashed_one_left_out(partial: Path) -> None:
    results = read_results(partial)
    found = learning_curves(results, "train.lr=0.03", "randomout")
    assert len(found) == 9
    stopped = found[8]
    assert sorted(stopped) == list(range(1, 21))
    assert {stopped[epoch] for epoch in range(10, 21)} == {61.0}
    told = caption(curves.figures(results, "train.lr=0.03"))
    assert "n = 10 (none), 9 (randomout), 1 (random) seeds" in told
    assert "1 trial became non-finite" in told


def test_the_thick_line_is_the_median(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(arms={"none": {"recipe": "none"}}, epochs=5, seeds=range(5))
    for seed, accuracy in enumerate((0.5, 0.6, 0.71, 0.8, 0.9)):
        run.add("none", seed, accuracy)
    ax = first_axes(curves.figures(read_results(run.close()), "base"))
    thick = [line for line in ax.get_lines() if line.get_linewidth() > 1]
    assert len(thick) == 1
    assert list(thick[0].get_xdata()) == [1, 2, 3, 4, 5]
    assert float(thick[0].get_ydata()[-1]) == pytest.approx(71.0)
    edges = [float(line.get_ydata()[-1]) for line in ax.get_lines() if line.get_linewidth() == 0.6]
    assert edges == pytest.approx([60.0, 80.0])


def test_epochs_that_diverged_before_the_first_evaluation_are_drawn_from_where_it_stopped(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run(epochs=4, seeds=range(2))
    run.add("none", 0, 0.9)
    run.add("none", 1, 0.5, status="diverged")
    with closing(sqlite3.connect(run.close() / "results.sqlite")) as database, database:
        database.execute("UPDATE epochs SET test_accuracy = NULL WHERE epoch < 4")
    found = learning_curves(read_results(run.folder), "base", "none")
    assert found == [{4: 90.0}, {2: 50.0, 4: 50.0}]


def test_many_arms_are_drawn_as_medians_alone(new_run: Callable[..., RunFolder]) -> None:
    names = ["none", *"abcdefg"]
    run = new_run(arms={n: {"recipe": "none"} for n in names}, epochs=3, seeds=range(3))
    for name in names:
        for seed in range(3):
            run.add(name, seed, 0.6 + seed / 10)
    results = read_results(run.close())
    ax = first_axes(curves.figures(results, "base"))
    assert len(ax.collections) == 0 or all(len(c.get_paths()) <= 1 for c in ax.collections)
    assert len([line for line in ax.get_lines() if line.get_linewidth() > 1]) == 8
    assert "left out" in caption(curves.figures(results, "base"))


def test_without_an_evaluation_there_are_no_curves(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(1))
    run.add("none", 0, None, status="crashed")
    assert not list(curves.figures(read_results(run.close()), "base"))
