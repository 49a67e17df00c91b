"""Stagnation in training: who stands still, and what a renewal makes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import regrow
from criteria.seen import scores
from recipes.small import dense, renewed, train
from regrow.criteria import Observation, Stagnation
from regrow.recipes import RecipeInfo
from regrow.renewal import Redraw
from regrow.schedule import Every
from regrow.selection import UpTo

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]


def test_the_way_is_that_since_the_last_look() -> None:
    criterion = Stagnation()
    state = criterion.observe({}, Observation(count=1, weight=torch.tensor([[3.0, 4.0]])))
    assert scores(criterion, state) == [1.0]
    for x in (3.5, 3.5):
        state, _ = criterion.score(state, layer="a", count=1, step=0, seed=0)
        weight = torch.tensor([[x, 4.0]])
        state = criterion.observe(state, Observation(count=1, weight=weight))
        weight.zero_()  # the next step writes into it
    assert scores(criterion, state) == [0.0]
    state = criterion.renewed(state, torch.tensor([True]))
    state = criterion.observe(state, Observation(count=1, weight=torch.tensor([[9.0, 4.0]])))
    assert scores(criterion, state) == [1.0]


def test_a_unit_that_no_gradient_reaches_is_found_and_moves_again(batches: Batches) -> None:
    recipe = regrow.Recipe(
        info=RecipeInfo(name="stagnant", summary="renews units that stand still"),
        criterion=Stagnation(),
        select=UpTo(threshold=1e-6),
        renew=Redraw(readers="zero"),
        when=Every(steps=3),
        layers=("linear",),
    )
    model = dense()
    with torch.no_grad():
        model[1].weight[2], model[1].bias[2] = 0.1, -100.0  # a ReLU behind it is silent
    found = train(model, batches(12), recipe, lr=0.05, include=["1"])
    assert renewed(found) == {"1": [2]}
    # Unknown at the first look, found at the second, on its way again at those after it.
    assert [event.step for event in found.report.events] == [5]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_the_copy_has_the_weights_own_type(kind: torch.dtype) -> None:
    weight = torch.ones(2, 3, dtype=kind)
    state = Stagnation().observe({}, Observation(count=2, weight=weight))
    assert state["weight"].dtype == kind
