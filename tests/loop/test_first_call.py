"""The next training pass, and no other, is met right before it is made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.criteria import Liveness
from regrow.history import Renewed
from regrow.loop.first_call import at_first_call


def _model() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    with torch.no_grad():
        model[0].bias[0] = -100.0
    return model


IMAGES = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_only_a_training_pass_is_met_and_only_once() -> None:
    model, met = _model(), list[Any]()
    at_first_call(model, lambda args, named: met.append((args, named)))
    expected = model.eval()(IMAGES)
    with torch.no_grad():
        model.train()(IMAGES)
    assert met == []
    assert torch.equal(model(IMAGES), expected)
    [(args, named)] = met
    assert args[0] is IMAGES
    assert named == {}
    model(IMAGES)
    assert len(met) == 1
    assert model.__dict__.keys() == _model().__dict__.keys()


def test_it_can_be_called_off() -> None:
    model, met = _model(), list[Any]()
    at_first_call(model, lambda args, named: met.append(args))()
    model(IMAGES)
    assert met == []
    assert model.__dict__.keys() == _model().__dict__.keys()


def test_what_a_module_calls_of_its_own_is_called_still() -> None:
    model, met = _model(), list[Any]()
    model.compile(backend="eager")
    own = model.__dict__["_compiled_call_impl"]
    at_first_call(model, lambda args, named: met.append(args))
    model(IMAGES)
    assert len(met) == 1
    assert model.__dict__["_compiled_call_impl"] is own


@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_model_that_is_compiled_afterwards(fullgraph: bool) -> None:
    class Own(
        nn.Module
    ):  # of a class of torch's the calls are compiled past the place in which they are met
        def __init__(self) -> None:
            super().__init__()
            self.layers = _model()

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    torch._dynamo.reset()
    model, met = Own(), list[Any]()
    at_first_call(model, lambda args, named: met.append(args))
    compiled = torch.compile(model, backend="eager", fullgraph=fullgraph)
    for _ in range(2):
        assert torch.equal(compiled(IMAGES), _model()(IMAGES))
    [(images,)] = met
    assert images is IMAGES
    assert "_compiled_call_impl" not in model.__dict__


def _trained(*, late: bool, compiled: bool) -> tuple[list[Renewed], dict[str, Tensor]]:
    """What was renewed, and the weights after six steps."""
    model, held = _model(), list[regrow.Regrower]()
    called = torch.compile(model, backend="eager") if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = Liveness(threshold=1e-8, steps=3, examples=4)
    recipe = regrow.RandomOut(active_fraction=1.0).with_parts(criterion=seen)

    def attach(args: Any, named: Any) -> None:
        held.append(regrow.attach(recipe, model, optimizer, example_inputs=args))

    if late:
        at_first_call(model, attach)
    else:
        attach(IMAGES[:2], {})
    for _ in range(6):
        optimizer.zero_grad()
        called(IMAGES).square().mean().backward()
        optimizer.step()
    return held[0].report.events, model.state_dict()


@pytest.mark.parametrize("compiled", [False, True])
def test_the_pass_that_was_met_is_read(compiled: bool) -> None:
    """A recipe that is attached in it decides at the same step as one that was attached before."""
    (one, first), (two, second) = (_trained(late=late, compiled=compiled) for late in (False, True))
    assert [event.layer for event in one] == ["0"]
    assert one == two
    assert all(torch.equal(each, second[name]) for name, each in first.items())
