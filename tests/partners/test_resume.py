"""Interrupted in the middle of an epoch and resumed is uninterrupted, bit for bit."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from crossed import crossed, seldom
from partners.nets import EPOCH, Plain, attach, copies, differing, sgd, train
from regrow.errors import StateError

STEPS = 3 * EPOCH + 1


def _fresh(seed: int, memory: str) -> tuple[list[nn.Module], list[torch.optim.Optimizer], Any]:
    torch.manual_seed(seed)
    models: list[nn.Module] = [Plain() for _ in range(3)]
    optimizers = [sgd(model, lr) for model, lr in zip(models, (0.05, 0.1, 0.02), strict=True)]
    return models, optimizers, attach(models, optimizers, hooks=True, memory=memory)


@pytest.mark.parametrize(
    ("cut", "memory"),
    crossed(
        seldom([2, EPOCH, EPOCH + 1, 2 * EPOCH + 3], often=[2, EPOCH, EPOCH + 1]),
        ["keep", "graft", "reset"],
    ),
)
def test_it_goes_on_bit_for_bit(memory: str, cut: int) -> None:
    whole, optimizers, grafter = _fresh(0, memory)
    train(whole, optimizers, STEPS)
    assert grafter.report.grafts == 3

    first, its, early = _fresh(0, memory)
    train(first, its, cut)
    file = io.BytesIO()
    parts = [[each.state_dict() for each in several] for several in (first, its, [early])]
    torch.save(parts, file)
    file.seek(0)
    second, others, late = _fresh(1, memory)
    states = torch.load(file, weights_only=True)
    for several, saved in zip((second, others, [late]), states, strict=True):
        for each, state in zip(several, saved, strict=True):
            each.load_state_dict(state)
    train(second, others, STEPS - cut, start=cut)
    for one, other in zip(whole, second, strict=True):
        assert differing(copies(one), copies(other)) == []
    for one, other in zip(optimizers, others, strict=True):
        mine, theirs = (
            [v for s in each.state.values() for v in s.values()] for each in (one, other)
        )
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert late.report.events == grafter.report.events
    assert (late.report.grafts, late.report.steps) == (3, STEPS)


def test_a_network_that_is_ahead_is_still_waited_for() -> None:
    """Saved when one network has ended its epoch and the others have not."""
    ends = []
    for resumed in (False, True):
        models, optimizers, grafter = _fresh(0, "keep")
        train(models[:1], optimizers[:1], EPOCH)
        if resumed:
            state = copy.deepcopy(grafter.state_dict())
            others, its, grafter = _fresh(1, "keep")
            for new, old in zip((*others, *its), (*models, *optimizers), strict=True):
                new.load_state_dict(copy.deepcopy(old.state_dict()))
            grafter.load_state_dict(state)
            models, optimizers = others, its
        train(models[1:], optimizers[1:], EPOCH)
        assert grafter.report.grafts == 1
        ends.append([copies(model) for model in models])
    for first, second in zip(*ends, strict=True):
        assert differing(first, second) == []


def test_states_of_something_else_are_refused_and_change_nothing() -> None:
    models, optimizers, grafter = _fresh(0, "keep")
    train(models, optimizers, EPOCH + 1)
    state = grafter.state_dict()
    for change, message in (
        ({"version": 2}, "version must be 1, the saved state has 2"),
        ({"recipe": "other"}, "recipe must be 'grafting'"),
        ({"networks": 2}, "networks must be 3, the saved state has 2"),
    ):
        with pytest.raises(StateError, match=message):
            grafter.load_state_dict({**state, **change})
    for key in state:
        part = {name: value for name, value in state.items() if name != key}
        with pytest.raises(StateError, match=f"must hold {key}"):
            grafter.load_state_dict(part)
    with pytest.raises(StateError, match="steps"):
        grafter.load_state_dict({**state, "steps": [1, 2]})
    with pytest.raises(StateError, match="report"):
        grafter.load_state_dict({**state, "report": {"grafts": 1}})
    assert grafter.state_dict() == state
    other = attach([Plain() for _ in range(2)])
    with pytest.raises(StateError, match="networks must be 2, the saved state has 3"):
        other.load_state_dict(state)
