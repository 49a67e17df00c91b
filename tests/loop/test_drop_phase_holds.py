"""Whatever a loop, an optimizer or a checkpoint does to filters that are out: they stay out, or somebody is told."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from crossed import crossed, pairs
from loop.test_drop_phase import GONE, _batch, _dropping
from loop.test_drop_phase_loops import _assert_out, _attach, _build, _sgd, _silent, _step
from regrow.errors import ConfigError, RegrowWarning, StateError
from regrow.schedule import AtSteps, Every
from traced import attach_traced


def _out(net: nn.Module, regrower: regrow.Regrower) -> None:
    for name, mask in _silent(regrower).items():
        assert not net.get_parameter(name)[mask].any(), name


class Restless(torch.optim.SGD):
    """Moves every entry of what it steps, gradient or not."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.add_(1e-3)


def _noise(net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    x, y = _batch(step)
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    for parameter in net.parameters():
        parameter.grad.data.add_(0.01)  # type: ignore[union-attr]
    optimizer.step()


def _by_hand(net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    x, y = _batch(step)
    held = list(net.parameters())
    for parameter, grad in zip(
        held, torch.autograd.grad(F.cross_entropy(net(x), y), held), strict=True
    ):
        parameter.grad = grad
    optimizer.step()


PASSING: dict[str, tuple[Any, Any, bool]] = {
    "noise in grad.data": (_noise, _sgd, True),
    "autograd.grad": (_by_hand, _sgd, True),
    "autograd.grad, no hooks": (_by_hand, _sgd, False),
    "noise, no hooks": (_noise, _sgd, False),
    "optimizer": (
        _step,
        lambda net: Restless(net.parameters(), lr=0.05, momentum=0.9),
        True,
    ),
}
"""How gradients come that no hook of a parameter sees, the optimizer, and whether it has hooks."""


@pytest.mark.parametrize(("way", "net"), crossed(PASSING, ["sigmoid", "residual"]))
def test_gradients_that_pass_by_the_hooks(way: str, net: str) -> None:
    train, kind, hooks = PASSING[way]
    model = _build(net)
    optimizer = kind(model)
    # An optimizer with a step of its own cannot be followed.
    told = {"reset_state": "zero"} if isinstance(optimizer, Restless) else {}
    regrower = _attach(model, optimizer, hooks=hooks, **told)
    for step in range(10):
        train(model, optimizer, step)
        if not hooks:
            regrower.step()
        if 3 <= step < 9:
            assert regrower.report.resting == GONE
            _out(model, regrower)
    assert not regrower.report.resting


def test_one_who_begins_late_is_found_within_a_while() -> None:
    model = _build("sigmoid")
    optimizer = _sgd(model)
    recipe = regrow.RePr(s1=1, s2=200, cycles=1, unit="steps", rank_by="random")
    regrower = attach_traced(recipe, model, optimizer, example_inputs=_batch(0)[0])
    for step in range(70):
        (_step if step < 10 else _noise)(model, optimizer, step % 4)
    for step in range(70, 74):
        _noise(model, optimizer, step)
        _out(model, regrower)


KINDS: dict[str, Any] = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, dampening=0.5),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.01),
}


@pytest.mark.parametrize(
    ("which", "hooks", "resumed"), crossed(pairs(KINDS, [True, False]), [False, True])
)
def test_memory_that_is_not_reset_is_what_it_was(which: str, hooks: bool, resumed: bool) -> None:
    kind = KINDS[which]

    def attach(net: nn.Module, by: torch.optim.Optimizer) -> regrow.Regrower:
        recipe = _dropping(optimizer_state="kept")
        return attach_traced(recipe, net, by, example_inputs=_batch(0)[0], hooks=hooks)

    def train(steps: range) -> None:
        for step in steps:
            _step(model, optimizer, step)
            if not hooks:
                regrower.step()

    model = _build()
    optimizer = kind(model.parameters())
    regrower = attach(model, optimizer)
    train(range(3))
    # The drop comes after step 3: what is remembered right after this step without it.
    twin = copy.deepcopy(model)
    other = kind(twin.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    _step(twin, other, 3)
    train(range(3, 6))
    _assert_out(model, regrower)
    silent = _silent(regrower)
    if resumed:
        saved = copy.deepcopy([each.state_dict() for each in (model, optimizer, regrower)])
        model = _build()
        optimizer = kind(model.parameters())
        regrower = attach(model, optimizer)
        for each, state in zip((model, optimizer, regrower), saved, strict=True):
            each.load_state_dict(state)
    train(range(6, 9))
    _assert_out(model, regrower)
    train(range(9, 10))
    assert not regrower.report.resting
    names = dict(twin.named_parameters())
    compared = 0
    for name, mask in silent.items():
        mine, its = optimizer.state[model.get_parameter(name)], other.state[names[name]]
        for key, value in its.items():
            if isinstance(value, Tensor) and value.shape == mask.shape:
                assert torch.equal(mine[key][mask], value[mask]), (name, key)
                compared += bool(value[mask].any())
    assert compared > 3
    train(range(10, 12))


def test_an_optimizer_that_nobody_knows_may_keep_its_memory() -> None:
    class Own(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for parameter in group["params"]:
                    slow = self.state[parameter].setdefault("slow", torch.zeros_like(parameter))
                    with torch.no_grad():
                        slow.mul_(0.5).add_(parameter.grad)
                        parameter.sub_(slow, alpha=0.05)

    model = _build()
    optimizer = Own(model.parameters(), {})
    regrower = attach_traced(
        _dropping(optimizer_state="kept"), model, optimizer, example_inputs=_batch(0)[0]
    )
    for step in range(8):
        _step(model, optimizer, step)
        if step > 3:
            _assert_out(model, regrower)


def test_a_model_that_changes_its_type_in_mid_phase() -> None:
    model = _build().float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    regrower = attach_traced(
        _dropping(), model, optimizer, example_inputs=_batch(0)[0].float(), coupled="writer"
    )
    for step in range(6):
        x, y = _batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(x.float()), y).backward()
        optimizer.step()
    state = copy.deepcopy(regrower.state_dict())
    model.double()
    again = regrower.state_dict()["resting"]["saved"]
    assert all(torch.equal(value, again[name]) for name, value in state["resting"]["saved"].items())
    regrower.load_state_dict(state)  # of the narrower type
    for step in range(6, 12):
        _step(model, optimizer, step)
    assert regrower.report.renewed == 3
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_state_of_another_type_is_loaded() -> None:
    nets = [_build().float(), _build()]
    for number, model in enumerate(nets):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        kind = next(model.parameters()).dtype
        regrower = attach_traced(
            _dropping(), model, optimizer, example_inputs=_batch(0)[0].to(kind)
        )
        if not number:
            for step in range(6):
                x, y = _batch(step)
                optimizer.zero_grad()
                F.cross_entropy(model(x.float()), y).backward()
                optimizer.step()
            saved = (model.state_dict(), regrower.state_dict())
        else:
            model.load_state_dict(saved[0])
            regrower.load_state_dict(saved[1])
            for step in range(6, 12):
                _step(model, optimizer, step)
            assert regrower.report.renewed == 3


def _amid() -> tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower, dict[str, Any]]:
    model = _build()
    optimizer = _sgd(model)
    regrower = _attach(model, optimizer)
    early = copy.deepcopy(model.state_dict())
    for step in range(6):
        _step(model, optimizer, step)
    return model, optimizer, regrower, early


def test_a_state_without_its_model_is_refused() -> None:
    _, _, regrower, _ = _amid()
    other = _build()
    fresh = _attach(other, _sgd(other))
    with pytest.raises(StateError, match=r"in a\.weight they are not 0: load the model's state"):
        fresh.load_state_dict(regrower.state_dict())
    assert not fresh.report.resting


@pytest.mark.parametrize("late", [False, True])
def test_a_model_that_is_loaded_alone_is_spoken_of(late: bool) -> None:
    model, optimizer, regrower, early = _amid()
    if late:  # the regrower first, and then the model
        model_state, own = copy.deepcopy(model.state_dict()), regrower.state_dict()
        model.load_state_dict(model_state)
        regrower.load_state_dict(own)
    model.load_state_dict(early)
    with pytest.warns(RegrowWarning, match=r"were written into before step 6.* load the optimizer"):
        _step(model, optimizer, 6)
    _assert_out(model, regrower)
    for step in range(7, 9):
        _step(model, optimizer, step)  # said once: warnings are errors here
        _assert_out(model, regrower)


def test_the_same_model_loaded_again_is_no_news() -> None:
    model, optimizer, regrower, _ = _amid()
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    _step(model, optimizer, 6)
    _assert_out(model, regrower)


@pytest.mark.filterwarnings("ignore:the .* has made steps before:regrow.errors.RegrowWarning")
def test_after_detach_nobody_reserves_the_filters() -> None:
    model, optimizer, regrower, _ = _amid()
    with pytest.warns(RegrowWarning, match="3 filters are out of the network"):
        regrower.detach()
    lottery = regrow.RandomOut(
        confirm="gradient", threshold=1e9, every_steps=1, active_fraction=1.0
    )
    other = attach_traced(lottery, model, optimizer, example_inputs=_batch(0)[0])
    _step(model, optimizer, 6)
    assert {event.layer: event.filters for event in other.report.events}["a"] == tuple(range(6))


def test_bring_back_after_detach() -> None:
    model, _, regrower, _ = _amid()
    with pytest.warns(
        RegrowWarning,
        match=r"the recipe does not bring them back any more: call regrower\.bring_back",
    ):
        regrower.detach()
    events = regrower.bring_back()
    assert {event.layer: event.filters for event in events} == GONE
    assert model.a.weight[list(GONE["a"])].any()  # type: ignore[union-attr, index]
    assert not regrower.report.resting
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regrower.detach()


@pytest.mark.parametrize("when", [Every(steps=3), AtSteps.of([3])])
def test_a_drop_without_an_end_is_refused(when: Any) -> None:
    model = _build()
    recipe = regrow.RePr(unit="steps").with_parts(when=when)
    with pytest.raises(ConfigError, match=r"schedule that brings them back.*never does.*Cycles"):
        attach_traced(recipe, model, _sgd(model), example_inputs=_batch(0)[0])


def test_a_shorter_schedule_brings_back_what_it_finds_out() -> None:
    model, optimizer, regrower, _ = _amid()
    state = regrower.state_dict()
    with pytest.warns(RegrowWarning):
        regrower.detach()
    shorter = _dropping().with_parts(when=regrow.RePr(s1=1, s2=1, cycles=1, unit="steps").when)
    other = attach_traced(shorter, model, optimizer, example_inputs=_batch(0)[0])
    other.load_state_dict(state)
    assert other.report.resting == GONE
    _step(model, optimizer, 6)
    assert not other.report.resting
    assert {event.layer: event.filters for event in other.report.events} == GONE
