"""Small panels of overlap: their numbers, their number, and the drop phases behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from regrow.report.figures import layers
from regrow.report.figures.filter_map import phases
from regrow.report.figures.layers import PANELS
from regrow.report.read import read_results
from regrow.report.weights import layer_series
from regrow.study.records import LayerRecord
from report.drawn import caption, drawn


def test_mean_and_spread_over_the_seeds(cycled: Path, new_cycled: Callable[..., Path]) -> None:
    found = read_results(cycled)
    series = layer_series(found, "base", "repr", found.overlaps, "conv2")
    assert list(series) == list(range(1, 9))
    mean, spread, seeds = series[5]
    assert (mean, seeds) == (pytest.approx(0.3 + 0.05 + 0.01), 2)
    assert spread == pytest.approx(0.02 / 2**0.5)
    alone = read_results(new_cycled(seeds=1, name="alone"))
    assert layer_series(alone, "base", "repr", alone.overlaps, "conv2")[5][1:] == (None, 1)


def test_one_panel_a_layer_in_the_networks_order_with_every_arm(cycled: Path) -> None:
    results = read_results(cycled)
    figure = drawn(*layers.overlap(results, "base"))
    ax = figure.axes[0]
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles == ["conv1 (4)", "conv10 (10)", "conv2 (6)"]
    assert ax.get_xlabel() == "Epoch"
    assert ax.get_ylabel() == "Mean overlap"
    for panel, base in zip(figure.axes, (0.1, 0.2, 0.3), strict=True):
        lines = {line.get_label(): line for line in panel.lines}
        assert list(lines) == ["none", "repr", "random"]
        heights = list(lines["repr"].get_ydata())
        assert heights == pytest.approx([base + 0.01 * e + 0.01 for e in (*range(1, 9), 8)])
        assert list(lines["repr"].get_xdata()) == [*range(1, 9), 8.5]
        assert lines["repr"].get_drawstyle() == "steps-post"
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["none", "repr", "random", "filters out of the network"]


def test_drop_phases_are_shaded_where_they_were(cycled: Path) -> None:
    results = read_results(cycled)
    assert phases(results, "base") == [
        (2.0, 4.0),
        (6.0, 8.5),
    ]  # the value that is drawn last was measured without some
    figure = drawn(*layers.overlap(results, "base"))
    for panel in figure.axes:
        spans = [
            patch.get_extents().transformed(panel.transData.inverted()) for patch in panel.patches
        ]
        assert [(round(span.x0, 6), round(span.x1, 6)) for span in spans] == [(2, 4), (6, 8.5)]
    assert "Grey: filters are out" in caption(layers.overlap(results, "base"))


def test_a_deep_network_is_drawn_in_part_and_told_so(new_cycled: Callable[..., Path]) -> None:
    deep = {f"block{index}.conv": 8 for index in range(60)}
    results = read_results(new_cycled(deep))
    titles = [ax.get_title(loc="left") for ax in drawn(*layers.overlap(results, "base")).axes]
    assert len(titles) == PANELS
    assert (titles[0], titles[-1]) == ("block0.conv (8)", "block59.conv (8)")
    assert "24 of 60 layers are drawn" in caption(layers.overlap(results, "base"))


def test_a_single_layer_and_none(cycled: Path, rescued: Path) -> None:
    results = read_results(cycled)
    only = {trial: (LayerRecord(layer="conv1", filters=4),) for trial in results.of(LayerRecord)}
    alone = replace(results, details={**results.details, LayerRecord: only})
    (ax,) = drawn(*layers.overlap(alone, "base")).axes
    assert ax.get_title(loc="left") == "conv1 (4)"
    assert not list(layers.overlap(read_results(rescued), "base"))
