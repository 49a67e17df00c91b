"""Selections: which filters of which layers."""

import pytest
import torch

from regrow.errors import ConfigError
from regrow.selection import Below, CountsOf

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
