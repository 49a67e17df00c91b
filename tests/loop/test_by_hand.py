"""Loops whose optimizer has no hooks: `before_step` and `after_step` are what the hooks do, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from crossed import seldom
from loop.loops import EXAMPLE, Batches, Make, adam, assert_same_bits, kill, often, sgd, weights
from regrow.errors import ConfigError, RegrowWarning
from traced import attach_traced

Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]


def _dampened(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, dampening=0.2)


def _rprop(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Rprop(model.parameters(), lr=1e-3)


def _backward(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    images, labels = batch
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return loss


def _attach(model: nn.Module, optimizer: torch.optim.Optimizer, **settings: Any) -> regrow.Regrower:
    recipe = settings.pop("recipe", None) or often()
    return attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, **settings)


def _assert_same(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            if key != "seconds":
                _assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            _assert_same(one, other)
    else:
        assert first == second


@pytest.mark.parametrize("make", seldom([sgd, adam, _dampened, _rprop], often=[adam, _dampened]))
def test_before_and_after_are_the_hooks(make: Make, small_cnn: Cnn, batches: Some) -> None:
    """Weights, the optimizer's memory and the regrower's own, in a run with many renewals."""
    runs: list[tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower]] = []
    for hooks in (True, False):
        model = small_cnn(0)
        optimizer = make(model)
        regrower = _attach(model, optimizer, hooks=hooks)
        for batch in batches(12):
            _backward(model, batch)
            if not hooks:
                regrower.before_step()
            optimizer.step()
            if not hooks:
                regrower.after_step()
        runs.append((model, optimizer, regrower))
    (hooked, first, one), (plain, second, two) = runs
    assert one.report.renewed > 2
    assert_same_bits(weights(hooked), weights(plain))
    _assert_same(first.state_dict(), second.state_dict())
    _assert_same(one.state_dict(), two.state_dict())


def test_of_several_optimizers(small_cnn: Cnn, batches: Some) -> None:
    runs: list[tuple[nn.Module, regrow.Regrower]] = []
    for hooks in (True, False):
        model = small_cnn(0)
        parts = list(model.children())
        optimizers = [sgd(nn.Sequential(*parts[:3])), adam(nn.Sequential(*parts[3:]))]
        regrower = attach_traced(often(), model, optimizers, example_inputs=EXAMPLE, hooks=hooks)
        for batch in batches(8):
            _backward(model, batch)
            if not hooks:
                regrower.before_step()
            for optimizer in optimizers:
                optimizer.step()
            if not hooks:
                regrower.after_step()
        runs.append((model, regrower))
    (hooked, one), (plain, two) = runs
    assert {event.layer for event in one.report.events} == {"0", "3"}
    assert_same_bits(weights(hooked), weights(plain))
    assert one.report.events == two.report.events


def test_what_is_out_and_was_written_into_is_noticed(small_cnn: Cnn, batches: Some) -> None:
    """As with hooks: the look before the step can tell a stranger's write from the optimizer's."""
    recipe = regrow.RePr(s1=2, s2=20, cycles=1, unit="steps", fraction=0.3)
    model = small_cnn(0)
    optimizer = sgd(model)
    regrower = _attach(model, optimizer, recipe=recipe, hooks=False, total_steps=40)
    first, second, third = batches(3)
    for batch in (first, second):
        _backward(model, batch)
        regrower.before_step()
        optimizer.step()
        regrower.after_step()
    (layer, filters), *_ = regrower.report.resting.items()
    with torch.no_grad():
        model.get_submodule(layer).weight[filters[0]] = 1.0  # type: ignore[index,operator]
    _backward(model, third)
    with pytest.warns(RegrowWarning, match="were written into before step 2"):
        regrower.before_step()
    assert not model.get_submodule(layer).weight[filters[0]].any()  # type: ignore[index,union-attr]


def test_steps_of_both_kinds_in_one_run(small_cnn: Cnn, batches: Some) -> None:
    """With plain gradients the two see the same, so that a run may mix them."""
    runs: list[tuple[nn.Module, regrow.Regrower]] = []
    for mixed in (False, True):
        model = small_cnn(0)
        optimizer = sgd(model)
        regrower = _attach(model, optimizer, hooks=False)
        for number, batch in enumerate(batches(8)):
            _backward(model, batch)
            at_once = mixed and number % 3 == 1
            if not at_once:
                regrower.before_step()
            optimizer.step()
            if at_once:
                regrower.step()
            else:
                regrower.after_step()
        runs.append((model, regrower))
    (one, first), (other, second) = runs
    assert first.report.renewed > 2
    assert_same_bits(weights(one), weights(other))
    assert first.report.events == second.report.events


def test_calls_in_a_wrong_order(small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0)
    optimizer = sgd(model)
    regrower = _attach(model, optimizer, hooks=False)
    _backward(model, batches(1)[0])
    with pytest.raises(ConfigError, match=r"after_step\(\) needs regrower.before_step\(\)"):
        regrower.after_step()
    regrower.before_step()
    with pytest.raises(ConfigError, match=r"before_step\(\) was called twice: call .*after_step"):
        regrower.before_step()
    with pytest.raises(ConfigError, match=r"step\(\) is for steps without .*before_step"):
        regrower.step()
    optimizer.step()
    regrower.after_step()
    with pytest.raises(ConfigError, match=r"after_step\(\) needs regrower.before_step\(\)"):
        regrower.after_step()
    assert regrower.report.steps == 1
    regrower.before_step()
    regrower.load_state_dict(regrower.state_dict())  # a step that was begun before is none of its
    regrower.before_step()
    regrower.detach()
    regrower.after_step()  # a detached one does nothing, as with hooks
    assert regrower.report.steps == 1


def test_with_hooks_they_are_refused(small_cnn: Cnn) -> None:
    model = small_cnn(0)
    regrower = _attach(model, sgd(model))
    for name in ("before_step", "after_step", "step"):
        with pytest.raises(
            ConfigError, match=rf"regrower\.{name}\(\) is for attach\(hooks=False\)"
        ):
            getattr(regrower, name)()


def test_after_an_error_the_step_may_be_begun_again(small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0)
    kill(model, 1)
    optimizer = sgd(model)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, min_loss=0.1
    )
    regrower = _attach(model, optimizer, recipe=recipe, hooks=False)
    loss = _backward(model, batches(1)[0])
    with pytest.raises(ConfigError, match=r"call regrower\.tell\(loss="):
        regrower.before_step()
    regrower.tell(loss=loss)
    regrower.before_step()
    optimizer.step()
    regrower.after_step()
    assert regrower.report.renewed == 1


@pytest.mark.parametrize("make", [_dampened, _rprop])
def test_a_step_that_is_seen_too_late_is_refused(make: Make, small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0)
    optimizer = make(model)
    regrower = _attach(model, optimizer, hooks=False)
    _backward(model, batches(1)[0])
    optimizer.step()
    with pytest.raises(ConfigError, match=r"hooks=True, or before_step\(\) and after_step\(\)"):
        regrower.step()
    assert regrower.report.steps == 0
