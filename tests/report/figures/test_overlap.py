"""Small panels of overlap: their numbers, their number, and the drop phases behind them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from regrow.report.figures.dropping import phases
from regrow.report.figures.layer_panels import PANELS
from regrow.report.figures.overlap import (
    caption_overlap,
    overlap_series,
    plot_overlap,
    shown_layers,
)
from regrow.report.read import read_results


def test_mean_and_spread_over_the_seeds(cycled: Path, new_cycled: Callable[..., Path]) -> None:
    series = overlap_series(read_results(cycled), "base", "repr", "conv2")
    assert list(series) == list(range(1, 9))
    mean, spread, seeds = series[5]
    assert (mean, seeds) == (pytest.approx(0.3 + 0.05 + 0.01), 2)
    assert spread == pytest.approx(0.02 / 2**0.5)
    alone = read_results(new_cycled(seeds=1, name="alone"))
    assert overlap_series(alone, "base", "repr", "conv2")[5][1:] == (None, 1)


def test_one_panel_a_layer_in_the_networks_order_with_every_arm(cycled: Path) -> None:
    results = read_results(cycled)
    figure, ax = plot_overlap(results, "base")
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles == ["conv1 (4)", "conv10 (10)", "conv2 (6)"]
    assert ax is figure.axes[0]
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
    figure, _ = plot_overlap(results, "base")
    for panel in figure.axes:
        spans = [
            patch.get_extents().transformed(panel.transData.inverted()) for patch in panel.patches
        ]
        assert [(round(span.x0, 6), round(span.x1, 6)) for span in spans] == [(2, 4), (6, 8.5)]
    assert "Grey: filters are out" in caption_overlap(results, "base")


def test_a_deep_network_is_drawn_in_part_and_told_so(new_cycled: Callable[..., Path]) -> None:
    layers = {f"block{index}.conv": 8 for index in range(60)}
    results = read_results(new_cycled(layers))
    drawn = list(shown_layers(results, "base"))
    assert len(drawn) == PANELS
    assert (drawn[0], drawn[-1]) == ("block0.conv", "block59.conv")
    figure, ax = plot_overlap(results, "base")
    assert len(figure.axes) == PANELS
    assert ax is figure.axes[20]
    assert "24 of 60 layers are drawn" in caption_overlap(results, "base")


def test_axes_that_are_given_hold_one_layer(cycled: Path, rescued: Path) -> None:
    own = Figure()
    ax = own.add_subplot()
    assert plot_overlap(read_results(cycled), "base", layer="conv2", ax=ax) == (own, ax)
    assert ax.get_title(loc="left") == "conv2"
    assert ax.lines[0].get_ydata()[0] == pytest.approx(0.3 + 0.01 + 0.01)
    _, empty = plot_overlap(read_results(rescued), "base")
    assert [text.get_text() for text in empty.texts] == ["No overlap was measured"]
