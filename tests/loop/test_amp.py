"""Mixed precision: regrow sees the true gradients, counts the steps that are made, leaves the scaler alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
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
from regrow.errors import NonFiniteWarning
from traced import attach_traced

Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]

OPTIMIZERS: dict[str, Make] = {
    "sgd": sgd,
    "sgd-fused": lambda model: sgd(model, fused=True),
    "sgd-dampened": lambda model: sgd(model, fused=True, dampening=0.5),
    "adam": adam,
    "adam-fused": lambda model: adam(model, fused=True),
    "adamw-fused": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01, fused=True),
    "adagrad-fused": lambda model: torch.optim.Adagrad(model.parameters(), lr=0.01, fused=True),
}

ROWS = seldom(OPTIMIZERS, often=("sgd-fused", "sgd-dampened", "adam-fused", "adagrad-fused"))


def _scaler(**options: Any) -> torch.amp.GradScaler:
    """Powers of two: scaling and unscaling round nothing."""
    return torch.amp.GradScaler("cpu", **{"init_scale": 1024.0, "growth_interval": 3, **options})


def _infinite(*steps: int) -> Callable[[int], float]:
    return lambda step: float("inf") if step in steps else 1.0


@pytest.mark.parametrize(("name", "dtype"), crossed(ROWS, [None, torch.bfloat16]))
def test_a_scaled_run_decides_and_trains_as_an_unscaled_one(
    name: str, dtype: torch.dtype | None, small_cnn: Cnn, batches: Some
) -> None:
    runs = []
    for scaler in (None, _scaler()):
        model = small_cnn(0)
        kill(model, 1)
        optimizer = OPTIMIZERS[name](model)
        regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
        train(model, optimizer, batches(10), scaler=scaler, autocast=dtype)
        runs.append((model, regrower))
    (plain, first), (scaled, second) = runs
    assert first.report.renewed > 4
    assert marked(first) == marked(second)
    assert (first.report.steps, first.report.checks) == (10, 5)
    assert (second.report.steps, second.report.checks) == (10, 5)
    for one, other in zip(first.report.events, second.report.events, strict=True):
        assert one.scores == pytest.approx(other.scores, rel=1e-4, abs=1e-7)
    torch.testing.assert_close(weights(plain), weights(scaled), rtol=1e-4, atol=1e-6)


def test_float16_underflow_looks_like_a_dead_filter_and_the_scaler_prevents_it(
    small_cnn: Cnn, batches: Some
) -> None:
    """A small loss in float16: what the backward pass rounds to 0 no criterion can see."""
    renewed = []
    for scaler in (None, _scaler(init_scale=2.0**20)):
        model = small_cnn(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        recipe = regrow.RandomOut(confirm="gradient", threshold=1e-30, active_fraction=1.0)
        regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        train(
            model,
            optimizer,
            batches(1),
            scaler=scaler,
            autocast=torch.float16,
            factor=lambda step: 1e-8,
        )
        renewed.append(regrower.report.renewed)
    assert renewed == [10, 0]


@pytest.mark.parametrize(("name", "source"), crossed(ROWS, ["last", "accumulated"]))
def test_a_skipped_step_is_as_if_it_had_not_been_tried(
    name: str, source: str, small_cnn: Cnn, batches: Some
) -> None:
    """No count, no decision, nothing in the sums; the steps around it are those of a run without it."""
    bad = (2, 5)
    runs = []
    for tried in (range(10), [step for step in range(10) if step not in bad]):
        model = small_cnn(0).eval()  # a forward pass leaves no trace
        kill(model, 1)
        optimizer = OPTIMIZERS[name](model)
        recipe = often(source=source, threshold=0.5)
        regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        some = [batches(10)[step] for step in tried]
        factor = _infinite(*bad) if len(tried) == 10 else _infinite()
        train(model, optimizer, some, scaler=_scaler(backoff_factor=0.5), factor=factor)
        runs.append((model, regrower))
    (one, first), (other, second) = runs
    assert first.report.renewed > 2
    assert marked(first) == marked(second)
    assert (first.report.steps, first.report.checks) == (8, 4)
    assert first.report.nonfinite == 0
    torch.testing.assert_close(weights(one), weights(other), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_the_scaler_grows_and_backs_off_as_without_regrow(
    fused: bool, small_cnn: Cnn, batches: Some
) -> None:
    states = []
    for attached in (False, True):
        model = small_cnn(0)
        optimizer = sgd(model, fused=fused)
        scaler = _scaler(init_scale=256.0)
        if attached:
            attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
        history = []
        for step in range(12):
            train(
                model,
                optimizer,
                batches(12)[step : step + 1],
                scaler=scaler,
                factor=_infinite() if step not in {4, 5} else _infinite(0),
            )
            history.append((scaler.get_scale(), scaler.state_dict()["_growth_tracker"]))
        states.append(history)
    assert states[0] == states[1]
    assert len({scale for scale, _ in states[0]}) > 2


@pytest.mark.parametrize("name", ["sgd", "sgd-fused", "adam-fused"])
def test_unscaled_and_clipped_before_the_step(name: str, small_cnn: Cnn, batches: Some) -> None:
    """After `scaler.unscale_` a fused optimizer's gradients are true ones: they are not divided a second time."""
    model = small_cnn(0)
    optimizer, scaler = OPTIMIZERS[name](model), _scaler()
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0, every_steps=2)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, dry_run=True)
    expected: list[list[float]] = []

    def clip() -> None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        grads = [model[index].weight.grad for index in (0, 3)]  # type: ignore[index]
        expected[:] = [grad.abs().sum((1, 2, 3)).tolist() for grad in grads]

    train(model, optimizer, batches(4), scaler=scaler, before_step=clip)
    assert regrower.report.steps == 4
    assert [list(event.scores) for event in regrower.report.events[-2:]] == [
        pytest.approx(one, rel=1e-6) for one in expected
    ]


@pytest.mark.parametrize("make", [sgd, adam])
def test_a_model_in_bfloat16_decides_alike_and_gets_the_same_draws_rounded(
    make: Make, small_cnn: Cnn, batches: Some
) -> None:
    drawn = []
    for dtype in (torch.float32, torch.bfloat16):
        model = small_cnn(0).to(dtype)
        kill(model, 1, 4)
        optimizer = make(model)
        recipe = regrow.RandomOut(
            confirm="gradient", threshold=1e-12, active_fraction=1.0, init="normal:0.2"
        )
        regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE.to(dtype))
        train(model, optimizer, batches(1), cast=lambda images, dtype=dtype: images.to(dtype))
        assert marked(regrower) == [(0, "3", (1, 4))]
        drawn.append(model[3].weight.detach()[[1, 4]].clone())  # type: ignore[index]
        train(model, optimizer, batches(8), cast=lambda images, dtype=dtype: images.to(dtype))
        assert regrower.report.renewed == 2
        moved = model[3].weight.detach()[[1, 4]]  # type: ignore[index]
        assert moved.dtype == dtype
        assert moved.isfinite().all()
        assert not torch.equal(moved, drawn[-1])
        state = optimizer.state[model[3].weight]  # type: ignore[index]
        kept = {value.dtype for value in state.values() if value.ndim}
        assert kept == {dtype}
    assert torch.equal(drawn[0].bfloat16(), drawn[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attached_inside_autocast(dtype: torch.dtype, small_cnn: Cnn, batches: Some) -> None:
    runs = []
    for inside in (False, True):
        model = small_cnn(0)
        kill(model, 1)
        optimizer = adam(model)
        with torch.autocast("cpu", dtype=dtype, enabled=inside):
            regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
        train(model, optimizer, batches(8), scaler=_scaler(), autocast=dtype)
        assert regrower.report.layers == {"0": 4, "3": 6}
        runs.append((weights(model), regrower.report.events))
    assert runs[0][1] == runs[1][1]
    assert runs[0][1]
    assert_same_bits(runs[0][0], runs[1][0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("source", ["last", "accumulated"])
def test_one_filter_that_is_no_number_does_not_hide_the_others(
    bad: float, source: Any, small_cnn: Cnn, batches: Some
) -> None:
    model = small_cnn(0)
    kill(model, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, source=source
    )
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)

    def spoil() -> None:
        model[3].weight.grad[2, 0, 0, 0] = bad  # type: ignore[index]

    with pytest.warns(NonFiniteWarning, match="step 0: 1 in 3; they select no filter"):
        train(model, optimizer, batches(1), before_step=spoil)
    assert marked(regrower) == [(0, "3", (1,))]
    assert regrower.report.nonfinite == 1
