"""When, where and on which seeds filters were renewed: counted, not lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regrow.report.figures import renewals
from regrow.report.figures.axes import seed_order
from regrow.report.figures.renewals import by_layer, renewing_arms, shown_epochs
from regrow.report.read import read_results
from report.drawn import caption, drawn, first_axes

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]
    from regrow.report.drawing import Drawing
    from regrow.study.results import Results


def _by_seed(results: Results) -> Drawing:
    """The second figure of the first arm."""
    return list(renewals.figures(results, "base"))[1]


def test_a_control_beside_its_recipe_needs_no_figure_of_its_own(rescued: Path) -> None:
    results = read_results(rescued)
    assert renewing_arms(results, "base") == ["randomout"]
    assert "control random repeats the same numbers" in caption(renewals.figures(results, "base"))


def test_counts_by_layer_and_epoch_are_those_of_the_file(rescued: Path) -> None:
    results = read_results(rescued)
    counts = by_layer(results, "base", "randomout")
    assert list(counts) == ["conv1", "conv2"]
    total = sum(n for epochs in counts.values() for n in epochs.values())
    trials = results.arm("base", "randomout").values()
    assert total == sum(trial.renewed or 0 for trial in trials)
    assert f"n = 24 seeds; {total} in all" in caption(renewals.figures(results, "base"))


def test_the_stack_is_as_high_as_the_largest_epoch(rescued: Path) -> None:
    results = read_results(rescued)
    ax = first_axes(renewals.figures(results, "base"))
    counts = by_layer(results, "base", "randomout")
    epochs = {e for layer in counts.values() for e in layer}
    largest = max(sum(layer.get(e, 0) for layer in counts.values()) for e in epochs)
    tops = [np.max(c.get_paths()[0].vertices[:, 1]) for c in ax.collections]
    assert max(tops) == largest
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["conv1", "conv2"]


def test_many_layers_are_put_together_in_the_order_of_their_numbers(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run(seeds=range(1))
    told = [(1, f"layer{k}", 1 + (k % 7)) for k in range(1, 12)]
    run.add("randomout", 0, 0.9, renewals=told)
    counts = by_layer(read_results(run.close()), "base", "randomout")
    # sizes 1 + k mod 7: layers 4, 5, 6 and 3, 10 have the most, the first of equals is kept
    assert list(counts) == ["layer3", "layer4", "layer5", "layer6", "layer11", "6 other layers"]
    names = [int(name.removeprefix("layer")) for name in list(counts)[:-1]]
    assert names == sorted(names)
    assert sum(n for e in counts.values() for n in e.values()) == sum(n for _, _, n in told)


def test_rows_are_the_seeds_in_the_order_of_the_sorted_figure(rescued: Path) -> None:
    results = read_results(rescued)
    ax = drawn(_by_seed(results)).axes[0]
    (image,) = ax.get_images()
    rows = np.asarray(image.get_array())
    order = seed_order(results, "base")
    assert rows.shape == (24, 20)
    for row, seed in zip(rows, order, strict=True):
        assert row.sum() == (results.arm("base", "randomout")[seed].renewed or 0)
    assert "n = 24 seeds" in _by_seed(results).caption


def test_crosses_mark_the_seeds_that_failed(rescued: Path) -> None:
    results = read_results(rescued)
    ax = drawn(_by_seed(results)).axes[0]
    order = seed_order(results, "base")
    crosses = [{order[int(y) - 1] for y in line.get_ydata()} for line in ax.get_lines()]
    expected = [
        {s for s, t in results.arm("base", arm).items() if (t.test_accuracy or 0) <= 0.52}
        for arm in ("none", "randomout")
    ]
    assert crosses == [seeds for seeds in expected if seeds]


def test_long_quiet_ends_are_cut_and_told(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(2), epochs=100)
    run.add("randomout", 0, 0.9, renewals=[(10, "conv1", 1)])
    run.add("randomout", 1, 0.9, renewals=[(2, "conv1", 1)])
    results = read_results(run.folder)
    assert shown_epochs(results, "base", "randomout") == 12
    assert "Epochs 1 to 12 of 100 are shown" in caption(renewals.figures(results, "base"))
    run.add("random", 0, 0.9, renewals=[(60, "conv1", 1)])
    results = read_results(run.close())
    assert shown_epochs(results, "base", "random") == 100


def test_a_renewal_in_the_epoch_in_which_a_trial_diverged_is_drawn(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run(seeds=range(1), epochs=4)
    # the trial ends two whole epochs, and renews in the third before its loss becomes NaN
    run.add("randomout", 0, 0.5, status="diverged", renewals=[(3, "conv1", 1)])
    ax = drawn(_by_seed(read_results(run.close()))).axes[0]
    assert np.asarray(ax.get_images()[0].get_array()).tolist() == [[0, 0, 1]]


def test_without_renewals_there_are_no_such_figures(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(1))
    run.add("none", 0, 0.9)
    results = read_results(run.close())
    assert not [*renewals.figures(results, "base")]
