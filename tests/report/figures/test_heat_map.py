"""Every cell of a heat map stands at its place, with its number and its colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb

from regrow.report import wording
from regrow.report.figures import heat_map, sorted_seeds
from regrow.report.figures.heat_map import colour_limit
from regrow.report.figures.order import drawings
from regrow.report.read import read_results
from regrow.report.sweep.panels import Panel, panels
from regrow.study.results import Results
from report.drawn import drawn, first_axes
from report.sweep_study import MISSING, TAU, P, rescuing, write_sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def only(folder: Path, **options: object) -> tuple[Results, Panel]:
    results = read_results(write_sweep(folder, **options))  # type: ignore[arg-type]
    (panel,) = panels(results)
    return results, panel


def numbers(ax: Axes) -> dict[tuple[str, str], str]:
    """What is written in the map, by the labels of row and column."""
    across = [text.get_text() for text in ax.get_xticklabels()]
    upwards = [text.get_text() for text in ax.get_yticklabels()]
    found: dict[tuple[str, str], str] = {}
    for text in ax.texts:
        x, y = text.get_position()
        found[upwards[int(y)], across[int(x)]] = text.get_text()
    return found


def test_gains_and_failures_stand_in_their_cells(tmp_path: Path) -> None:
    results, panel = only(tmp_path)
    gains, lost = drawn(*heat_map.figures(results, panel)).axes[:2]
    assert numbers(gains) == {
        (str(cell.y), str(cell.x)): wording.points(cell.gain) for cell in panel.cells
    }
    assert numbers(lost) == {
        (str(cell.y), str(cell.x)): str(cell.numbers.failed_a) for cell in panel.cells
    }
    assert (gains.get_xlabel(), gains.get_ylabel()) == ("active_fraction", "threshold")
    assert lost.get_title("left") == "Failed seeds under randomout, of 12\n(under none: 4)"
    bold = {
        place
        for place, text in zip(numbers(gains), gains.texts, strict=True)
        if text.get_fontweight() == "bold"
    }
    assert bold == {
        (str(c.y), str(c.x)) for c in panel.cells if c.comparison.outcome in {"gain", "harm"}
    }
    assert 0 < len(bold) < 6


def test_gain_is_blue_harm_orange_and_nothing_white(tmp_path: Path) -> None:
    def reached(point: Mapping[str, object], arm: str, seed: int) -> float:
        gain = {0.2: 0.0, 0.6: 0.1, 1.0: -0.1}[float(str(point[P]))]
        return 0.8 + seed / 1000 + gain * (arm != "none")

    gains = first_axes(heat_map.figures(*only(tmp_path, reached=reached)))
    (mesh,) = (each for each in gains.collections if isinstance(each, QuadMesh))
    values = np.asarray(mesh.get_array())
    assert values[0] == pytest.approx([0.0, 10.0, -10.0])
    colours = [tuple(colour[:3]) for colour in mesh.to_rgba(values)[0]]
    expected = [to_rgb("white"), to_rgb("#0072b2"), to_rgb("#d55e00")]
    for colour, wanted in zip(colours, expected, strict=True):
        assert colour == pytest.approx(wanted, abs=0.01)


def test_blank_cells_are_crossed_out_and_counted(tmp_path: Path) -> None:
    def reached(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        return MISSING if point[TAU] == 1e-4 else rescuing(point, arm, seed)

    (found,) = heat_map.figures(*only(tmp_path, reached=reached))
    gains, lost = drawn(found).axes[:2]
    assert (len(gains.texts), len(gains.lines)) == (3, 3)
    assert len(lost.texts) == 3
    assert "Crossed out: 3 cells without a pair." in found.caption
    assert "n = 12 pairs each" in found.caption


def test_a_few_cells_far_away_do_not_take_the_others_colour() -> None:
    near = [0.01 * (1 + k % 2) for k in range(40)]
    assert colour_limit(near) == (0.02, False)
    assert colour_limit([*near, -0.3]) == (0.02, True)
    assert colour_limit([0.0, None]) == (0.005, False)
    assert colour_limit([]) == (0.005, False)


@pytest.mark.parametrize("seeds", [[], [0], [0, 1]])
def test_however_little_there_is_it_is_drawn(tmp_path: Path, seeds: list[int]) -> None:
    def reached(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        return 0.8 if seed in seeds and point[P] == 0.6 else MISSING

    folder = write_sweep(tmp_path, seeds=range(3), reached=reached)
    results = read_results(folder)
    figure = drawn(*heat_map.figures(results, panels(results)[0]))
    gains = figure.axes[0]
    figure.draw_without_rendering()
    assert len(gains.texts) == (2 if seeds else 0)
    names = [drawing.name for drawing in drawings(results)]
    assert ("base-map" in names) == bool(seeds)
    assert ("base-pairs" in names) == (len(seeds) > 1)


def test_the_chosen_cell_shows_the_seeds_that_did_not_choose_it(tmp_path: Path) -> None:
    results = read_results(write_sweep(tmp_path))
    (panel,) = panels(results)
    chosen = panel.chosen[0]
    (found,) = sorted_seeds.held_back(results, panel)
    ax = drawn(found).axes[0]
    order = [int(text.get_text()) for text in ax.get_xticklabels()]
    assert sorted(order) == [1, 3, 5, 7, 9, 11]
    marks = {
        line.get_marker(): [float(y) for y in line.get_ydata()]
        for line in ax.lines
        if line.get_marker() in {"o", "^"}
    }
    for marker, arm in (("o", "none"), ("^", "randomout")):
        trials = results.arm(chosen.cell.cell, arm)
        expected = [100 * (trials[seed].test_accuracy or 0.0) for seed in order]
        assert sorted(marks[marker]) == pytest.approx(sorted(expected))
    assert "Test accuracy of the 6 seeds held back" in found.caption
    assert wording.points(chosen.before.numbers.mean_difference) in found.caption
    assert wording.points(chosen.after.numbers.mean_difference) in found.caption
    assert "2 of 6 failed under none, 0 under randomout" in found.caption
