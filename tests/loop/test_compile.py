"""torch.compile: renewals are seen by the compiled graph, and cost neither a recompilation nor a graph break."""

import shutil
from collections.abc import Callable, Generator

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from crossed import crossed, seldom
from loop.loops import (
    EXAMPLE,
    Batches,
    Make,
    adam,
    assert_same_bits,
    kill,
    marked,
    often,
    sgd,
    train,
    weights,
)
from traced import attach_traced

Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]
# Compiling a step imports a part of torch that uses torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
MAKES = pytest.mark.parametrize("make", [sgd, adam])
ONE_MAKE = pytest.mark.parametrize("make", seldom([sgd, adam], often=[adam]))


@pytest.fixture(autouse=True)
def fresh() -> Generator[None]:
    """Nothing compiled by another test, and all counters at 0."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def _breaks() -> int:
    return sum(counters["graph_break"].values())


def _check_equal_to_eager(
    model: nn.Module, compiled: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor
) -> None:
    """In the mode in which it was compiled; a norm in training mode gives the same twice."""
    with torch.compiler.set_stance("fail_on_recompile"):
        given = compiled(images)
    assert torch.equal(given, model(images))


@pytest.mark.parametrize(
    ("when", "backend", "make"),
    crossed(
        seldom(["before", "after", "before the first call"], often=["before", "after"]),
        ["aot_eager", "eager"],
        [sgd, adam],
    ),
)
def test_renewals_cost_no_recompilation_and_no_break(
    when: str, backend: str, make: Make, small_cnn: Cnn, batches: Some
) -> None:
    """Attached before the model is compiled, before the compiled model's first call, or after some."""
    plain = small_cnn(0)
    kill(plain, 1)
    optimizer = make(plain)
    expected = attach_traced(often(), plain, optimizer, example_inputs=EXAMPLE)
    train(plain, optimizer, batches(12))

    model = small_cnn(0)
    kill(model, 1)
    optimizer, counter = make(model), CompileCounterWithBackend(backend)
    regrower = None
    if when == "before":
        regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
    compiled: nn.Module = torch.compile(model, backend=counter, fullgraph=True)  # type: ignore[assignment]
    if when == "after":
        compiled(batches(1)[0][0]).sum().backward()
        model.load_state_dict(weights(small_cnn(0)))
        kill(model, 1)
    if regrower is None:
        regrower = attach_traced(often(), compiled, optimizer, example_inputs=EXAMPLE)
    train(compiled, optimizer, batches(12))

    assert len({event.step for event in regrower.report.events}) >= 4
    assert counter.frame_count == 1
    assert _breaks() == 0
    assert regrower.report.events == expected.report.events
    assert_same_bits(weights(plain), weights(model))
    _check_equal_to_eager(model, compiled, batches(1)[0][0])
    assert counter.frame_count == 1


class _Net(nn.Module):
    """With a forward of its own: what torch.compile takes in place."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


@ONE_MAKE
def test_a_model_compiled_in_place(make: Make, small_cnn: Cnn, batches: Some) -> None:
    model, counter = _Net(small_cnn(0)), CompileCounterWithBackend("aot_eager")
    kill(model.layers, 1)
    optimizer = make(model)
    model.compile(backend=counter, fullgraph=True)
    regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
    train(model, optimizer, batches(12))
    assert len({event.step for event in regrower.report.events}) >= 4
    assert (counter.frame_count, _breaks()) == (1, 0)
    given = model(batches(1)[0][0])
    with torch.compiler.set_stance("force_eager"):
        assert torch.equal(given, model(batches(1)[0][0]))


def test_one_compiled_part_of_a_model(small_cnn: Cnn, batches: Some) -> None:
    """Only some layers are compiled: names have ``_orig_mod.`` inside, and the renewal finds them."""
    net, counter = small_cnn(0), CompileCounterWithBackend("aot_eager")
    kill(net, 1)
    model = nn.Sequential(torch.compile(net[:5], backend=counter, fullgraph=True), *net[5:])  # type: ignore[index]
    optimizer = sgd(model)
    regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
    train(model, optimizer, batches(12))
    assert regrower.report.layers == {"0._orig_mod.0": 4, "0._orig_mod.3": 6}
    assert len({event.step for event in regrower.report.events}) >= 4
    assert (counter.frame_count, _breaks()) == (1, 0)
    _check_equal_to_eager(net, model, batches(1)[0][0])


def test_looking_at_the_model_compiles_nothing(small_cnn: Cnn, batches: Some) -> None:
    """The trace, and what ``preserve`` measures at each renewal, run the model eagerly on batches of other sizes."""
    model, counter = _Net(small_cnn(0)), CompileCounterWithBackend("eager")
    optimizer = sgd(model)
    model.compile(backend=counter, fullgraph=True)
    regrower = attach_traced(
        often(preserve=True),
        model,
        optimizer,
        example_inputs=torch.zeros(5, 1, 8, 8),
        calibration_inputs=torch.randn(7, 1, 8, 8),
    )
    assert counter.frame_count == 0
    train(model, optimizer, batches(12))
    assert regrower.report.renewed > 4
    assert (counter.frame_count, _breaks()) == (1, 0)


@ONE_MAKE
def test_a_compiled_step_is_hooked_and_not_traced_into(
    make: Make, small_cnn: Cnn, batches: Some
) -> None:
    """``torch.compile(optimizer.step)``: the hooks run as Python around it; it is compiled as often as without them."""
    found = []
    for attached in (False, True):
        torch._dynamo.reset()
        counters.clear()
        model = small_cnn(0)
        kill(model, 1)
        optimizer, counter = make(model), CompileCounterWithBackend("eager")
        regrower = None
        if attached:
            regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
        step = torch.compile(optimizer.step, backend=counter)
        for images, labels in batches(12):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            step()
        found.append(counter.frame_count)
        if regrower is not None:
            assert (regrower.report.steps, regrower.report.checks) == (12, 6)
            assert len({event.step for event in regrower.report.events}) >= 4
    assert found[0] == found[1]


@ONE_MAKE
def test_a_compiled_step_trains_renewed_filters_as_an_eager_one(
    make: Make, small_cnn: Cnn, batches: Some
) -> None:
    runs = []
    for compiled in (False, True):
        model = small_cnn(0).double()
        kill(model, 1)
        optimizer = make(model)
        regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE.double())
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for images, labels in batches(8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images.double()), labels).backward()
            step()
        runs.append((model, regrower))
    (eager, first), (fast, second) = runs
    assert first.report.renewed > 4
    assert marked(first) == marked(second)
    # A compiled Adam counts its steps in float32 tensors, an eager one in Python.
    torch.testing.assert_close(weights(eager), weights(fast), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
@MAKES
def test_inductor_sees_renewed_weights(make: Make, small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0)
    kill(model, 1)
    optimizer = make(model)
    compiled: nn.Module = torch.compile(model, fullgraph=True)  # type: ignore[assignment]
    regrower = attach_traced(often(), compiled, optimizer, example_inputs=EXAMPLE)
    train(compiled, optimizer, batches(2))
    with torch.compiler.set_stance("fail_on_recompile"):
        train(compiled, optimizer, batches(10))
        given = compiled(batches(1)[0][0])
    assert len({event.step for event in regrower.report.events}) >= 4
    assert _breaks() == 0
    torch.testing.assert_close(given, model(batches(1)[0][0]), rtol=1e-4, atol=1e-5)
