"""The random control of recipes that renew hidden units: as many, in the same layers and steps, renewed alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import regrow
from recipes.small import dense, kill, train
from regrow.history import Renewed

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]
ROWS: list[tuple[regrow.Recipe, dict[str, Any]]] = [
    (regrow.ReDo(threshold=0.8, every_steps=4), {"readers": "zero"}),
    (regrow.ReGraMa(threshold=0.5, every_steps=4), {"readers": "zero"}),
    (regrow.ContinualBackprop(rate=0.1, maturity=3), {"transfer": True}),
    (regrow.SelfNormalizedResets(min_silence=4, max_silence=4), {"readers": "zero"}),
]


@pytest.mark.parametrize(("recipe", "settings"), ROWS, ids=lambda each: type(each).__name__)
def test_counts_layers_steps_and_renewal_are_the_same(
    recipe: regrow.Recipe, settings: dict[str, Any], batches: Batches
) -> None:
    def run(which: regrow.Recipe) -> regrow.Regrower:
        model = dense()
        kill(model[1], 2, 5)
        return train(model, batches(12), which, seed=3)

    events = run(recipe).report.events
    control = regrow.RandomControl(like=events, dense=True, **settings)
    replayed = run(control).report.events
    assert events
    assert [(each.step, each.layer, len(each.filters)) for each in events] == [
        (each.step, each.layer, len(each.filters)) for each in replayed
    ]
    assert [each.filters for each in events] != [each.filters for each in replayed]
    assert control.renew.moves_means == recipe.renew.moves_means
    assert control.renew.touches_readers == recipe.renew.touches_readers


def test_random_utility_takes_as_many_with_the_same_transfer(batches: Batches) -> None:
    found = {
        utility: train(
            dense(), batches(12), regrow.ContinualBackprop(rate=0.1, maturity=3, utility=utility)
        ).report.events
        for utility in ("contribution", "random")
    }
    one, other = found.values()
    assert [(e.step, e.layer) for e in one] == [(e.step, e.layer) for e in other]
    assert [e.filters for e in one] != [e.filters for e in other]
    info = regrow.recipes.info("continual-backprop")
    assert info.neutral is not None
    assert info.neutral.holds(
        {**regrow.recipes.settings("continual-backprop"), "utility": "random"}
    )


def test_the_controls_means_are_moved(batches: Batches) -> None:
    model = dense()
    before = model.get_parameter("3.bias").detach().clone()
    events = [Renewed(step=1, layer="1", filters=(0,), scores=(0.0,))]
    control = regrow.RandomControl(like=events, dense=True, transfer=True)
    train(model, batches(2), control, lr=1e-30)
    assert not torch.equal(model.get_parameter("3.bias"), before)
