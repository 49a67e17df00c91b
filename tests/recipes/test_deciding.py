"""What a recipe decides, against a plain count filter by filter: looks at all layers at once change nothing of it."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

import regrow
from crossed import crossed, seldom
from regrow.compose import Recipe
from regrow.criteria import Observation
from regrow.decision import RecipeState, decide, initial_state, observe
from regrow.errors import ConfigError

NAN, INF = float("nan"), float("inf")
THRESHOLDS = (0.0, 1e-8, 0.3, 1e-30)


def _recipe(threshold: float, **settings: object) -> Recipe:
    recipe = regrow.RandomOut(confirm="gradient", threshold=threshold, active_fraction=1.0)
    return recipe.with_parts(**settings)  # type: ignore[arg-type]


def _observed(scores: dict[str, Tensor]) -> dict[str, Observation]:
    """Gradients of one number a filter, whose norm is the score; a NaN stays one, and infinity too."""
    return {
        layer: Observation(count=len(each), grad=each.unsqueeze(-1))
        for layer, each in scores.items()
    }


def _plain(
    scores: dict[str, Tensor], born: dict[str, Tensor], *, threshold: float, step: int, grace: int
) -> tuple[dict[str, list[bool]], dict[str, int]]:
    """Filter by filter, in the scores' own type."""
    masks: dict[str, list[bool]] = {}
    for layer, each in scores.items():
        limit = torch.tensor(threshold, dtype=each.dtype).item()
        masks[layer] = [
            math.isfinite(score) and score < limit and (last < 0 or step - last > grace)
            for score, last in zip(each.tolist(), born[layer].tolist(), strict=True)
        ]
    bad = {
        layer: sum(not math.isfinite(one) for one in each.tolist())
        for layer, each in scores.items()
    }
    return {key: mask for key, mask in masks.items() if any(mask)}, {
        k: n for k, n in bad.items() if n
    }


@pytest.mark.parametrize(
    ("seed", "threshold"), crossed(seldom(range(25), often=range(8)), THRESHOLDS)
)
def test_against_a_count_filter_by_filter(threshold: float, seed: int) -> None:
    """Scores around the threshold and of every special kind, several types, grace periods, repeated steps."""
    draw = random.Random(seed)  # noqa: S311 # no secret
    near = torch.tensor(threshold)
    beside = [near.item(), *(torch.nextafter(near, torch.tensor(to)).item() for to in (1.0, -1.0))]
    odd = [] if draw.random() < 0.5 else [0.0, NAN, INF, 1e-45]
    counts = {"a": draw.randint(1, 5), "b": 3, "c": draw.randint(1, 40)}
    grace = draw.choice((0, 1, 5))
    recipe = _recipe(threshold, grace_steps=grace)
    state = initial_state(recipe, counts)
    types = {layer: draw.choice((torch.float32, torch.float32, torch.float64)) for layer in counts}
    for step in (0, 1, 2, 2, 5, 9):
        scores = {
            layer: torch.tensor(
                [abs(draw.choice([*beside, *odd, 1.0, 0.31, 7.0])) for _ in range(count)],
                dtype=types[layer],
            )
            for layer, count in counts.items()
            if draw.random() < 0.8
        }
        state = observe(recipe, state, _observed(scores))
        masks, bad = _plain(scores, dict(state.born), threshold=threshold, step=step, grace=grace)
        before = state
        state, decision = decide(recipe, state, step=step, seed=0)
        assert {layer: mask.tolist() for layer, mask in decision.masks.items()} == masks
        assert dict(decision.nonfinite) == bad
        assert decision.scores.keys() == masks.keys()
        for layer in masks:
            assert torch.equal(
                decision.scores[layer].nan_to_num(9.0), scores[layer].nan_to_num(9.0)
            )
        for layer, born in before.born.items():
            marked = masks.get(layer, [False] * len(born))
            told = [step if on else last for on, last in zip(marked, born.tolist(), strict=True)]
            assert state.born[layer].tolist() == told


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_one_score_that_is_no_number_among_living_ones_is_counted(value: float) -> None:
    """Nobody is under the threshold, so that this alone must keep the step from being passed over."""
    recipe = _recipe(0.5)
    state = initial_state(recipe, {"a": 2, "b": 3})
    state = observe(recipe, state, _observed({"a": torch.ones(2), "b": torch.ones(3)}))
    odd = {"a": {"scores": torch.ones(2)}, "b": {"scores": torch.tensor([1.0, value, 1.0])}}
    _, decision = decide(recipe, RecipeState(criteria=odd, born=state.born), step=0, seed=0)
    assert (dict(decision.nonfinite), dict(decision.masks)) == ({"b": 1}, {})


def test_a_threshold_is_compared_in_the_scores_own_type() -> None:
    """In float32, 0.1 is a little more than 0.1: a score that equals it is not under it, nor is that of float64."""
    low = torch.tensor([0.1], dtype=torch.float32)
    recipe = _recipe(0.1)
    for each, marked in ((low, False), (torch.nextafter(low, torch.zeros(1)), True)):
        state = observe(recipe, initial_state(recipe, {"a": 1}), _observed({"a": each}))
        assert bool(decide(recipe, state, step=0, seed=0)[1].masks) is marked
    wide = torch.tensor([0.1], dtype=torch.float64)
    state = observe(
        recipe, initial_state(recipe, {"a": 1, "b": 1}), _observed({"a": low, "b": wide})
    )
    assert not decide(recipe, state, step=0, seed=0)[1].masks


def test_a_loss_that_is_needed_is_asked_for_in_idle_steps_too() -> None:
    recipe = _recipe(0.5, min_loss=0.1)
    state = observe(recipe, initial_state(recipe, {"a": 2}), _observed({"a": torch.ones(2)}))
    with pytest.raises(ConfigError, match=r"needs the training loss"):
        decide(recipe, state, step=0, seed=0)
    assert decide(recipe, state, step=0, seed=0, loss=0.05)[1].gated
    assert not decide(recipe, state, step=0, seed=0, loss=0.2)[1].gated
