"""A look at a network while a recipe is at work on it, and while nothing may be disturbed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import regrow
from health.sick import Cnn, images

X, Y = images(64)


def _train(steps: int, *, looks: bool) -> tuple[dict[str, torch.Tensor], list[int]]:
    net: Any = Cnn()
    with torch.no_grad():
        net.two.bias[4] = -100.0
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    recipe = regrow.RandomOut(active_fraction=1.0)
    regrower = regrow.attach(recipe, net, optimizer, example_inputs=X[:2])
    dead: list[int] = []
    for step in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X), Y).backward()
        optimizer.step()
        if looks and step in {0, 5, steps - 1}:
            dead.append(len(regrower.inspect(X, targets=Y)["two"].units["dead"]))
    return net.state_dict(), dead


def test_training_is_bit_equal_with_looks_in_between() -> None:
    plain, _ = _train(14, looks=False)
    looked, dead = _train(14, looks=True)
    assert all(torch.equal(plain[name], looked[name]) for name in plain)
    # RandomOut's window: the unit is dead until it is renewed, and lives from then on.
    assert dead[0] == 1
    assert dead[-1] == 0


def test_the_optimizer_is_the_trainings_own() -> None:
    net = Cnn()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    regrower = regrow.attach(
        regrow.RandomOut(active_fraction=1.0), net, optimizer, example_inputs=X[:2]
    )
    told = regrower.inspect(X, targets=Y)
    alone = regrow.inspect(net, X, targets=Y, optimizer=optimizer)
    assert told == alone
    assert "step" in told["two"].numbers
    assert "step" not in regrower.inspect(X, targets=Y, optimizer=None)["two"].numbers


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision(kind: torch.dtype) -> None:
    net: Any = Cnn().to(kind)
    health = regrow.inspect(net, X.to(kind), targets=Y)
    assert health["two"].units["dead"] == ()
    with torch.no_grad():
        net.two.bias[4] = -100.0
    assert regrow.inspect(net, X.to(kind))["two"].units["dead"] == (4,)


def test_frozen_layers_have_no_gradient() -> None:
    net = Cnn()
    net.one.weight.requires_grad_(False)
    health = regrow.inspect(net, X, targets=Y)
    assert "gradient" not in health["one"].numbers
    assert "gradient" in health["two"].numbers
    frozen = regrow.inspect(net.requires_grad_(False), X, targets=Y)
    assert frozen.loss is None
    assert any(note.startswith("gradients:") for note in frozen.notes)


def test_it_can_be_called_without_gradients_and_in_inference_mode() -> None:
    net = Cnn()
    expected = regrow.inspect(net, X, targets=Y)
    with torch.no_grad():
        assert regrow.inspect(net, X, targets=Y) == expected
    with torch.inference_mode():
        assert regrow.inspect(net, X.clone(), targets=Y.clone()) == expected
