"""The family that keeps networks plastic in compiled models and under gradient scalers: as in a plain loop."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import regrow
from contract.plasticity_rows import ROWS
from crossed import crossed, seldom
from loop.loops import EXAMPLE, Batches, assert_same_bits, kill, marked, sgd, train, weights
from traced import attach_traced

Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]
STEPS = 12
SOME = seldom(ROWS, often=["continual-backprop", "partial-reset"])

# Compiling a step imports a part of torch that uses torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")


def _attached(name: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> regrow.Regrower:
    """With settings with which it renews who is dead within a few steps."""
    recipe = ROWS[name].make(**ROWS[name].eager)
    return attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)


@pytest.mark.parametrize("name", seldom(ROWS, often=["continual-backprop"]))
def test_a_compiled_model_trains_as_an_eager_one(name: str, small_cnn: Cnn, batches: Some) -> None:
    """The same renewals at the same steps, and the same bits; attached to what `torch.compile` gave."""
    torch._dynamo.reset()
    plain, model = small_cnn(0), small_cnn(0)
    regrowers: list[regrow.Regrower] = []
    for each in (plain, model):
        kill(each, 1)
        optimizer = sgd(each)
        trained = each if each is plain else torch.compile(each, backend="aot_eager")
        regrowers.append(_attached(name, trained, optimizer))
        train(trained, optimizer, batches(STEPS))
    torch._dynamo.reset()
    assert regrowers[0].report.events
    assert regrowers[0].report.events == regrowers[1].report.events
    assert_same_bits(weights(plain), weights(model))


@pytest.mark.parametrize(("name", "fused"), crossed(SOME, [False, True]))
def test_a_scaled_run_decides_as_an_unscaled_one(
    name: str, fused: bool, small_cnn: Cnn, batches: Some
) -> None:
    """A scaler with powers of two, which round nothing."""
    runs: list[tuple[nn.Module, regrow.Regrower]] = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)):
        model = small_cnn(0)
        kill(model, 1)
        optimizer = sgd(model, fused=fused)
        regrower = _attached(name, model, optimizer)
        train(model, optimizer, batches(STEPS), scaler=scaler)
        runs.append((model, regrower))
    (plain, first), (scaled, second) = runs
    assert first.report.events
    assert marked(first) == marked(second)
    torch.testing.assert_close(weights(plain), weights(scaled), rtol=1e-4, atol=1e-6)
