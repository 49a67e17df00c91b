"""The figures of several networks and of weights: their numbers, and only where there are any."""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from regrow.report.figures import grafting, invalid, layers, networks
from regrow.report.figures.order import drawings
from regrow.report.read import read_results
from regrow.report.weights import layer_series
from report.drawn import caption, drawn
from report.several_study import ARMS

NAMES = ("networks", "alpha", "distance", "invalid", "entropy")


def _rows(folder: Path, query: str, *values: object) -> list[tuple[float, float]]:
    with sqlite3.connect(folder / "results.sqlite") as database:
        return database.execute(query, values).fetchall()


def _means(rows: list[tuple[float, float]]) -> dict[float, float]:
    found: dict[float, list[float]] = {}
    for key, value in rows:
        found.setdefault(key, []).append(value)
    return {key: statistics.fmean(values) for key, values in sorted(found.items())}


def test_the_larger_share_of_each_layer_one_panel_an_arm(several_folder: Path) -> None:
    results = read_results(several_folder)
    (found,) = grafting.shares(results, "base")
    figure = drawn(found)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["grafting", "graft0", "plus"]
    layers = [text.get_text() for text in figure.legends[0].get_texts()]
    assert layers == ["stem", "conv10", "conv2"]
    for ax, arm in zip(figure.axes, ("grafting", "graft0", "plus"), strict=True):
        lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
        for line, layer in zip(lines, layers, strict=True):
            wanted = _means(
                _rows(
                    several_folder,
                    "SELECT (step + 1) / 10.0, 0.5 + ABS(share - 0.5) FROM grafts JOIN trials USING (trial) "
                    "WHERE arm = ? AND layer = ?",
                    arm,
                    layer,
                )
            )
            assert list(line.get_xdata()) == list(wanted) == [1, 2, 3]
            assert list(line.get_ydata()) == pytest.approx(list(wanted.values()))
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert "n = 8 (grafting), 8 (graft0), 8 (plus) seeds" in found.caption
    assert "band: smallest to largest" in found.caption


def test_distances_are_means_over_layers(several_folder: Path) -> None:
    results = read_results(several_folder)
    (found,) = grafting.distances(results, "base")
    ax = drawn(found).axes[0]
    assert len(ax.lines) == 3
    wanted = _means(
        _rows(
            several_folder,
            "SELECT (step + 1) / 10.0, distance FROM grafts JOIN trials USING (trial) WHERE arm = 'plus'",
        )
    )
    assert list(ax.lines[2].get_xdata()) == list(wanted)
    assert list(ax.lines[2].get_ydata()) == pytest.approx(list(wanted.values()))
    assert ax.get_ylim()[0] == 0
    assert "n = 8 (grafting)" in found.caption


def test_each_network_beside_the_mean(several_folder: Path) -> None:
    results = read_results(several_folder)
    (found,) = networks.figures(results, "base")
    figure = drawn(found)
    first = figure.axes[0]
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["grafting", "graft0", "apart", "plus"]
    mean, *each = [line for line in first.lines if len(line.get_xdata())]
    assert len(each) == 2
    for number, line in enumerate(each):
        wanted = _means(
            _rows(
                several_folder,
                "SELECT epoch, 100 * p.test_accuracy FROM partners p JOIN trials USING (trial) "
                "WHERE arm = 'grafting' AND partner = ?",
                number,
            )
        )
        assert list(line.get_ydata()) == pytest.approx(list(wanted.values()))
    trials = _means(
        _rows(
            several_folder,
            "SELECT epoch, 100 * e.test_accuracy FROM epochs e JOIN trials USING (trial) "
            "WHERE arm = 'grafting'",
        )
    )
    assert list(mean.get_ydata()) == pytest.approx(list(trials.values()))
    assert "n = 8 (grafting), 8 (graft0), 8 (apart), 8 (plus) seeds" in found.caption


def test_invalid_filters_one_panel_a_threshold(several_folder: Path) -> None:
    results = read_results(several_folder)
    (found,) = invalid.figures(results, "base")
    figure = drawn(found)
    ax = figure.axes[0]
    titles = [own.get_title(loc="left") for own in figure.axes]
    assert titles == ["l1 < 1", "l1 < 0.1", "l1 < 0.01", "l1 < 0.001"]
    lines = {line.get_label(): line for line in figure.axes[2].lines}
    assert list(lines) == list(ARMS)
    wanted = _means(
        _rows(
            several_folder,
            "SELECT epoch, 100 * SUM(below_0_01 * filters) / 24 FROM weights JOIN layers USING (trial, layer) "
            "JOIN trials USING (trial) WHERE arm = 'apart' GROUP BY trial, epoch, partner",
        )
    )
    assert list(lines["apart"].get_ydata()) == pytest.approx(list(wanted.values()))
    assert ax.get_ylim()[0] == 0
    assert "over n = 8 (none), 8 (long)" in found.caption


def test_entropy_one_panel_a_layer_one_line_an_arm(several_folder: Path) -> None:
    results = read_results(several_folder)
    (found,) = layers.entropy(results, "base")
    figure = drawn(found)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["stem (4)", "conv10 (12)", "conv2 (8)"]
    wanted = _means(
        _rows(
            several_folder,
            "SELECT epoch, entropy FROM weights JOIN trials USING (trial) "
            "WHERE arm = 'graft0' AND layer = 'conv10'",
        )
    )
    series = layer_series(results, "base", "graft0", results.entropies, "conv10")
    assert [mean for mean, _, _ in series.values()] == pytest.approx(list(wanted.values()))
    line = next(line for line in figure.axes[1].lines if line.get_label() == "graft0")
    assert list(line.get_ydata())[:-1] == pytest.approx(list(wanted.values()))
    assert "n = 8 (none)" in found.caption


def test_a_deep_network_names_some_layers_and_draws_no_bands(
    new_several: Callable[..., Path],
) -> None:
    deep = {f"block{index}.conv": 4 for index in range(30)}
    arms = {label: ARMS[label] for label in ("none", "grafting")}
    results = read_results(new_several(arms=arms, layers=deep, seeds=range(2)))
    (found,) = grafting.shares(results, "base")
    figure = drawn(found)
    ax = figure.axes[0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["block0.conv", "block15.conv", "block29.conv"]
    assert not ax.collections
    assert "band" not in found.caption
    assert "24 of 30 layers are drawn" in caption(layers.entropy(results, "base"))


def test_they_are_there_only_where_there_is_something_to_draw(
    several_folder: Path, rescued: Path, cycled: Path, new_several: Callable[..., Path]
) -> None:
    found = [drawing.name for drawing in drawings(read_results(several_folder))]
    assert found[-5:] == [f"base-{name}" for name in NAMES]
    for folder in (rescued, cycled):
        names = {drawing.name for drawing in drawings(read_results(folder))}
        assert not names & {f"base-{name}" for name in NAMES}
    arms = {label: ARMS[label] for label in ("none", "apart")}
    some = {drawing.name for drawing in drawings(read_results(new_several("some", arms=arms)))}
    assert some & {f"base-{name}" for name in NAMES} == {
        "base-networks",
        "base-invalid",
        "base-entropy",
    }
