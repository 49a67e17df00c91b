"""Selections: which filters of which layers."""

import math
from typing import Any

import pytest
import torch

from regrow.errors import ConfigError
from regrow.selection import (
    Below,
    CountsOf,
    FractionOfLayer,
    Graded,
    Inverted,
    Nobody,
    RateOfLayer,
    UpTo,
    WorstFraction,
)

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


def _taken(select: FractionOfLayer, step: int, *, of: int = 20) -> int:
    scores = {"a": torch.arange(of, dtype=torch.float32).flip(0)}
    mask = select(scores, eligible={"a": torch.ones(of, dtype=torch.bool)}, step=step)["a"]
    count = int(mask.sum())
    assert mask[of - count :].all()  # the lowest
    return count


def test_a_share_of_each_layer_falls_along_a_quarter_of_a_cosine() -> None:
    select = FractionOfLayer(fraction=0.3, end_step=1000)
    for step in range(0, 1001, 50):
        share = 0.3 * math.cos(math.pi / 2 * step / 1000)
        expected = max(math.floor(20 * share + 1e-9), 1) if step < 1000 else 0
        assert _taken(select, step) == expected
    assert _taken(FractionOfLayer(fraction=0.3), 10**9) == 6


@pytest.mark.parametrize(
    ("fraction", "of", "count"), [(0.0, 20, 0), (1.0, 20, 19), (0.01, 20, 1), (0.5, 1, 0)]
)
def test_a_share_of_each_layer_at_its_ends(fraction: float, of: int, count: int) -> None:
    """Nobody ever, one always stays, at least one, and a layer of one keeps it."""
    assert _taken(FractionOfLayer(fraction=fraction), 0, of=of) == count


def test_a_share_of_each_layer_takes_no_more_than_are_eligible_and_known() -> None:
    scores = {"a": torch.tensor([0.0, math.nan, 1.0, 2.0, 3.0])}
    may = {"a": torch.tensor([False, True, True, False, True])}
    found = FractionOfLayer(fraction=0.8)(scores, eligible=may, step=0)["a"]
    assert found.tolist() == [False, False, True, False, True]
    for wrong, said in (
        ({"fraction": 1.5}, r"fraction must be within \[0, 1\]"),
        ({"fraction": 0.5, "end_step": 0}, "end_step must be a whole number of at least 1"),
    ):
        with pytest.raises(ConfigError, match=said):
            FractionOfLayer(**wrong)  # type: ignore[arg-type]


GRADED = Graded(rate=0.5, transform="linear", sharpness=0.5)
UTILITY = {"a": torch.tensor([0.5, 2.0, 9.0, math.nan, 1.5])}


def test_a_graded_selection_says_how_far() -> None:
    all_ = {"a": torch.ones(5, dtype=torch.bool)}
    assert GRADED.strengths(UTILITY)["a"].tolist() == [0.5, 0.25, 0.0, 0.0, 0.375]
    assert GRADED(UTILITY, eligible=all_, step=0)["a"].tolist() == [True, True, False, False, True]
    assert not Graded(rate=0.0)(UTILITY, eligible=all_, step=0)["a"].any()


def test_others_move_whoever_they_mark_all_the_way() -> None:
    assert Below(threshold=1.0).strengths(SCORES)["a"].tolist() == [1.0, 1.0, 1.0]


def test_inverted_takes_as_many_of_each_layer_from_the_other_end() -> None:
    scores = {"a": torch.tensor([0.0, 5.0, 0.1, 3.0, math.nan]), "b": torch.tensor([0.0, 1.0])}
    may = {"a": torch.tensor([True, False, True, True, True]), "b": torch.ones(2).bool()}
    whole = UpTo(threshold=0.5)(scores, eligible=may, step=0)
    found = Inverted(select=UpTo(threshold=0.5))(scores, eligible=may, step=0)
    assert whole["a"].tolist() == [True, False, True, False, False]
    assert found["a"].tolist() == [False, False, True, True, False]  # the best may not be taken
    assert found["b"].tolist() == [False, True]


def test_inverted_goes_on_with_what_a_selection_has_saved_up() -> None:
    scores, may = {"a": torch.arange(4.0)}, {"a": torch.ones(4).bool()}
    select, state = Inverted(select=RateOfLayer(rate=0.1)), {}
    assert select.remembers
    found = []
    for step in range(3):
        state, masks = select.chosen(state, scores, eligible=may, step=step)  # type: ignore[assignment, arg-type]
        found.append(masks["a"].tolist() if masks else None)
    assert found == [None, None, [False, False, False, True]]


def test_inverted_strengths_are_those_of_the_other_end() -> None:
    """From the worst to the best: 0.5, 0.375, 0.25 and 0 become 0, 0.25, 0.375 and 0.5."""
    select = Inverted(select=GRADED)
    assert select.graded
    assert select.strengths(UTILITY)["a"].tolist() == [0.0, 0.375, 0.5, 0.0, 0.25]
    found = select(UTILITY, eligible={"a": torch.ones(5).bool()}, step=0)["a"]
    assert found.tolist() == [False, True, True, False, True]


def test_nobody_is_asked_as_ever_and_nobody_is_marked() -> None:
    scores, may = {"a": torch.arange(4.0)}, {"a": torch.ones(4).bool()}
    state, masks = Nobody(select=RateOfLayer(rate=0.9)).chosen({}, scores, eligible=may, step=0)
    assert not masks
    assert float(state["a"]) == pytest.approx(0.6)  # 3.6, of which 3 would have been taken
    assert not Nobody(select=UpTo(threshold=9.0))(scores, eligible=may, step=0)["a"].any()
