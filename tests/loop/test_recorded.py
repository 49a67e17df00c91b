"""A model that is written down while it trains, by `torch.fx` and its like: as without, and so is the training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

import regrow
from crossed import crossed
from loop.loops import assert_same_bits, weights
from regrow.compose import Recipe
from regrow.engine.program import program_of
from regrow.graph.frames import compiled_anything
from regrow.loop.first_call import at_first_call

IMAGES = torch.randn(60, 8, 16, generator=torch.Generator().manual_seed(0))
"""Batch by batch, (batches, examples, inputs)."""

RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "passes": lambda: regrow.ContinualBackprop(rate=0.2, maturity=1),
    "looks": lambda: regrow.RandomOut(threshold=0.3, active_fraction=1.0, look_every=1),
    "readers": lambda: regrow.ReDo(threshold=0.5, every_steps=1),
    "newest batch": regrow.KeepAlive,
}


def _recorded_by_jit(model: nn.Module) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is no longer recommended
        return str(torch.jit.trace(model, IMAGES[0]).code)  # type: ignore[union-attr]


RECORDERS: Mapping[str, Callable[[nn.Module], str]] = {
    "torch.fx": lambda model: str(fx.symbolic_trace(model).graph),
    "torch.export": lambda model: str(torch.export.export(model, (IMAGES[0],)).graph),
    "torch.jit": _recorded_by_jit,
    "a stack": lambda model: str(program_of(model)),
}


class _Net(nn.Module):
    """With a container inside, whose own call a recorder makes."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU())
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x))


def _net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _Net()
    with torch.no_grad():
        model.hidden[0].bias[1] = -100.0  # a unit that is dead
    return model


@pytest.fixture(params=["eager", "compiled"])
def _process(request: pytest.FixtureRequest) -> Generator[None]:
    """A process in which something was compiled: there passes are run once more to be read."""
    torch._dynamo.reset()
    if request.param == "compiled":
        torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2))
        assert compiled_anything()
    yield
    torch._dynamo.reset()


def _trained(recipe: Recipe, record: Callable[[nn.Module], str] | None) -> tuple[Any, ...]:
    """Trained for some steps, and written down between some of them, beside what was written down."""
    model, written = _net(), set[str]()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    regrower = regrow.attach(
        recipe, model, optimizer, example_inputs=IMAGES[0][:2], layers=("linear",), seed=0
    )
    for number, images in enumerate(IMAGES):
        if number % 10 == 3 and record is not None:
            written.add(record(model))
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
    return model, regrower.report.events, written


@pytest.mark.usefixtures("_process")
@pytest.mark.parametrize(("name", "how"), crossed(RECIPES, RECORDERS))
def test_the_record_and_the_training_are_as_without(name: str, how: str) -> None:
    plain, events, _ = _trained(RECIPES[name](), None)
    model, also, written = _trained(RECIPES[name](), RECORDERS[how])
    assert written == {RECORDERS[how](_net())}
    assert events == also
    assert events
    assert_same_bits(weights(plain), weights(model))


@pytest.mark.usefixtures("_process")
@pytest.mark.parametrize("how", RECORDERS)
def test_a_call_that_is_written_down_is_not_the_first_of_a_training(how: str) -> None:
    model, met = _net(), list[Any]()
    at_first_call(model, lambda args, named: met.append(args))
    assert RECORDERS[how](model) == RECORDERS[how](_net())
    assert met == []
    model(IMAGES[0])
    assert len(met) == 1
