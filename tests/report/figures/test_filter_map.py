"""The map of filters: dark exactly while a filter was out, readable with few and with many."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from regrow.report.figures import filter_map
from regrow.report.figures.filter_map import out_of_network
from regrow.report.figures.order import drawings
from regrow.report.read import read_results
from report.drawn import caption, drawn, first_axes


def test_only_arms_that_took_filters_out_have_a_map(cycled: Path, rescued: Path) -> None:
    (found,) = filter_map.figures(read_results(cycled), "base")
    assert found.title == "Filters of repr in and out of the network"
    assert not list(filter_map.figures(read_results(rescued), "base"))


def test_a_filter_is_dark_from_its_drop_to_its_return(cycled: Path) -> None:
    results = read_results(cycled)
    trial = results.arm("base", "repr")[0]
    held = results
    edges, rows = out_of_network(trial, held.layers[trial.trial], held.drops[trial.trial])
    assert edges == [0.0, 2.0, 4.0, 6.0, 8.0, 8.5]
    dark = {index: row for index, row in enumerate(rows) if any(row)}
    assert len(rows) == 20
    # conv1 has rows 0 to 3, conv10 rows 4 to 13; filter 3 of conv1 never came back.
    assert dark == {0: [0, 1, 0, 0, 0], 3: [0, 1, 0, 1, 1], 9: [0, 1, 0, 0, 0]}


def test_a_filter_that_left_with_the_last_step_is_still_seen(cycled: Path) -> None:
    with sqlite3.connect(cycled / "results.sqlite") as database:
        database.execute("UPDATE resting SET dropped = 79")
    results = read_results(cycled)
    trial = results.arm("base", "repr")[0]
    held = results
    edges, rows = out_of_network(trial, held.layers[trial.trial], held.drops[trial.trial])
    assert edges == [0.0, 2.0, 4.0, 8.0, 8.5]
    assert rows[3] == [0, 1, 0, 1]
    ax = first_axes(filter_map.figures(results, "base"))
    assert ax.get_xlim() == (0.0, 8.5)


def test_where_all_came_back_the_map_ends_with_the_training(cycled: Path) -> None:
    with sqlite3.connect(cycled / "results.sqlite") as database:
        database.execute("DELETE FROM resting")
    results = read_results(cycled)
    ax = first_axes(filter_map.figures(results, "base"))
    assert ax.get_xlim() == (0.0, 8.0)
    assert "never came back" not in caption(filter_map.figures(results, "base"))


def test_the_picture_shows_these_rows_and_names_layers_and_seed(cycled: Path) -> None:
    figure = drawn(*filter_map.figures(read_results(cycled), "base"))
    ax = figure.axes[0]
    (mesh,) = (each for each in ax.collections if isinstance(each, QuadMesh))
    shown = np.asarray(mesh.get_array())
    assert shown.shape == (20, 5)
    assert shown.sum() == 5
    assert ax.get_title(loc="left") == "repr, seed 0"
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "conv1 (4)",
        "conv10 (10)",
        "conv2 (6)",
    ]
    assert list(ax.get_yticks()) == [2, 9, 17]
    assert ax.get_ylim() == (20, 0)
    assert figure.axes == [ax]


def test_the_caption_counts(cycled: Path) -> None:
    text = caption(filter_map.figures(read_results(cycled), "base"))
    assert "seed 0 (n = 1 trial)" in text
    assert "Filters left 2 times, 3 of 20 filters at least once." in text
    assert "1 filter never came back" in text


@pytest.mark.parametrize(("layers", "high"), [(3, 2.9), (20, 8.2), (100, 9.0)])
def test_names_keep_their_distance_and_rows_their_height(
    new_cycled: Callable[..., Path], layers: int, high: float
) -> None:
    results = read_results(new_cycled({f"block{index}.conv": 32 for index in range(layers)}))
    figure = drawn(*filter_map.figures(results, "base"))
    ax = figure.axes[0]
    figure.draw_without_rendering()
    assert figure.get_figheight() == pytest.approx(high, abs=0.1)
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert len(boxes) >= min(layers, 20)
    heights = sorted((box.y0, box.y1) for box in boxes)
    assert all(low[1] <= next_[0] + 0.5 for low, next_ in itertools.pairwise(heights))
    assert all(label.get_fontsize() >= 8 for label in ax.get_yticklabels())


@pytest.mark.slow
def test_map_and_panels_lie_within_their_figures(new_cycled: Callable[..., Path]) -> None:
    # A collapsed layout warns, and warnings are errors here.
    for layers in (3, 30):
        folder = new_cycled(
            {f"features.block{index}.conv": 16 for index in range(layers)}, name=f"of{layers}"
        )
        for drawing in drawings(read_results(folder))[-2:]:
            figure = drawn(drawing)
            figure.draw_without_rendering()
            tight = figure.get_tightbbox()
            assert tight is not None
            assert tight.x0 >= -0.02, drawing.name
            assert tight.x1 <= figure.get_figwidth() + 0.02, drawing.name
            assert tight.y1 <= figure.get_figheight() + 0.02, drawing.name
