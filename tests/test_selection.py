"""Selections: which filters of which layers."""

import math
from typing import Any

import pytest
import torch

from regrow.errors import ConfigError
from regrow.selection import Below, CountsOf, WorstFraction

SCORES = {"a": torch.tensor([0.0, 0.5, 2.0]), "b": torch.tensor([0.0, 0.0])}
ALL = {layer: torch.ones_like(scores, dtype=torch.bool) for layer, scores in SCORES.items()}


def test_below_tests_each_filter_on_its_own() -> None:
    masks = Below(threshold=0.6)(SCORES, eligible=ALL, step=0)
    assert {layer: mask.tolist() for layer, mask in masks.items()} == {
        "a": [True, True, False],
        "b": [True, True],
    }


def test_keep_one_spares_the_last_of_a_layer() -> None:
    masks = Below(threshold=0.6, keep_one=True)(SCORES, eligible=ALL, step=0)
    assert masks["a"].tolist() == [True, True, False]
    assert masks["b"].tolist() == [False, True]


def test_filters_in_their_grace_period_are_left() -> None:
    eligible = {**ALL, "a": torch.tensor([False, True, True])}
    assert Below(threshold=0.6)(SCORES, eligible=eligible, step=0)["a"].tolist() == [
        False,
        True,
        False,
    ]


def test_counts_of_another_run() -> None:
    select = CountsOf(counts={(3, "a"): 2})
    at_three = select(SCORES, eligible=ALL, step=3)
    assert at_three["a"].tolist() == [True, True, False]
    assert not at_three["b"].any()
    assert not select(SCORES, eligible=ALL, step=4)["a"].any()


def test_negative_threshold() -> None:
    with pytest.raises(ConfigError, match="threshold must be at least 0, got -1"):
        Below(threshold=-1.0)
    with pytest.raises(ConfigError, match="threshold must be at least 0, got nan"):
        Below(threshold=float("nan"))


def _worst(
    scores: dict[str, list[float]], *, out: dict[str, list[int]] | None = None, **settings: Any
) -> dict[str, list[int]]:
    given = {layer: torch.tensor(values) for layer, values in scores.items()}
    eligible = {layer: torch.ones(len(values), dtype=torch.bool) for layer, values in given.items()}
    for layer, filters in (out or {}).items():
        eligible[layer][filters] = False
    masks = WorstFraction(**settings)(given, eligible=eligible, step=0)
    assert masks.keys() == scores.keys()
    return {layer: mask.nonzero()[:, 0].tolist() for layer, mask in masks.items()}


def test_the_worst_of_all_layers_are_ranked_together() -> None:
    scores = {"a": [0.9, 0.1, 0.8], "b": [0.2, 0.7, 0.3, 0.05]}
    assert _worst(scores, fraction=0.5) == {"a": [1], "b": [0, 3]}  # three of seven, rounded down
    assert _worst(scores, fraction=0.0) == {"a": [], "b": []}
    assert _worst(scores, fraction=1.0) == {"a": [1, 2], "b": [0, 2, 3]}  # never a whole layer


def test_ties_are_taken_in_order() -> None:
    assert _worst({"a": [0.5] * 3, "b": [0.5] * 3}, fraction=0.5) == {"a": [0, 1], "b": [0]}


def test_scores_that_are_no_numbers_are_never_taken() -> None:
    scores = {"a": [math.nan, 0.3, -math.inf], "b": [math.inf, 0.4, 0.1]}
    assert _worst(scores, fraction=1.0) == {"a": [1], "b": [1, 2]}


def test_who_may_not_be_taken_counts_in_the_share_all_the_same() -> None:
    scores = {"a": [0.1, 0.2, 0.3, 0.4]}
    assert _worst(scores, out={"a": [0]}, fraction=0.5) == {"a": [1, 2]}
    assert _worst(scores, out={"a": [0, 1, 2, 3]}, fraction=0.5) == {"a": []}


def test_the_share_of_a_layer_has_a_limit() -> None:
    scores = {"a": [0.1, 0.1, 0.1, 0.1, 0.9], "b": [0.5, 0.6, 0.7, 0.8, 0.9]}
    assert _worst(scores, fraction=0.4, most_of_layer=0.5) == {"a": [0, 1], "b": [0, 1]}
    assert _worst(scores, fraction=0.4, most_of_layer=0.1) == {"a": [], "b": []}


@pytest.mark.parametrize(
    ("fraction", "total", "taken"), [(0.29, 100, 29), (0.58, 50, 29), (0.7, 90, 63), (0.3, 96, 28)]
)
def test_a_share_is_rounded_down_from_what_was_meant(
    fraction: float, total: int, taken: int
) -> None:
    scores = {"a": [i / total for i in range(total)]}
    assert len(_worst(scores, fraction=fraction)["a"]) == taken


def test_a_share_that_takes_nothing_is_refused() -> None:
    select = WorstFraction(fraction=0.1)
    with pytest.raises(ConfigError, match=r"fraction=0.1 of 8 filters is less than one"):
        select.check({"a": 4, "b": 4})
    select.check({"a": 5, "b": 5})
    with pytest.raises(ConfigError, match=r"fraction=0 of 5 filters is less than one"):
        WorstFraction(fraction=0).check({"a": 5})
    with pytest.raises(ConfigError, match=r"the largest has 8, most_of_layer=0.1 of it may go"):
        WorstFraction(fraction=0.3, most_of_layer=0.1).check({"a": 4, "b": 8})
    with pytest.raises(ConfigError, match=r"the largest has 1, .* and one must stay"):
        WorstFraction(fraction=0.5).check({"a": 1, "b": 1})
    for settings in ({"fraction": 1.1}, {"fraction": 0.5, "most_of_layer": -0.1}):
        with pytest.raises(ConfigError, match=r"within \[0, 1\]"):
            WorstFraction(**settings)


def test_layers_that_cannot_be_laid_side_by_side() -> None:
    """Several types, or leading axes of several lengths: each layer is compared on its own, with the same result."""
    low = torch.tensor([0.1], dtype=torch.float32)  # in float64 it is above 0.1
    wide = torch.tensor([0.1, 0.0], dtype=torch.float64)
    stack = torch.tensor([[0.0, 1.0], [1.0, 0.05]])
    scores = {"low": low, "wide": wide, "stack": stack}
    eligible = {
        layer: torch.ones(each.shape[-1], dtype=torch.bool) for layer, each in scores.items()
    }
    for some in (["low", "wide"], ["low", "stack"], ["stack"], ["wide"], []):
        masks = Below(threshold=0.1)(
            {layer: scores[layer] for layer in some}, eligible=eligible, step=0
        )
        told = {"low": [False], "wide": [False, True], "stack": [[True, False], [False, True]]}
        assert {layer: mask.tolist() for layer, mask in masks.items()} == {
            layer: told[layer] for layer in some
        }
    pair = {"a": stack, "b": stack[:, :1]}
    both = Below(threshold=0.5)(
        pair, eligible={"a": eligible["stack"], "b": eligible["low"]}, step=0
    )
    assert both["a"].tolist() == told["stack"]
    assert both["b"].tolist() == [[True], [False]]
