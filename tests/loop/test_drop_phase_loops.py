"""Filters stay out whatever the training loop does, and what a user can do while they are."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import regrow
from crossed import crossed, seldom
from loop.test_drop_phase import GONE, Plain, Residual, _batch, _dropping
from regrow.errors import NoEffectWarning, RegrowWarning, StateError
from regrow.history import Renewed
from traced import attach_traced

NETS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": lambda: Plain((6, 6), norm=False, act=torch.sigmoid),
    "residual": lambda: Residual((6, 6), channels=tuple(range(6))),
}
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "sgd, dampened": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}),
    "adam, fused": (torch.optim.Adam, {"lr": 0.01, "fused": True, "weight_decay": 0.1}),
    "adam, amsgrad": (torch.optim.Adam, {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1}),
    "adamw, foreach": (torch.optim.AdamW, {"lr": 0.01, "foreach": True, "weight_decay": 0.1}),
    "adadelta": (torch.optim.Adadelta, {"weight_decay": 0.1}),
    "adagrad": (torch.optim.Adagrad, {"initial_accumulator_value": 0.1, "weight_decay": 0.1}),
    "adamax": (torch.optim.Adamax, {"lr": 0.01, "weight_decay": 0.1}),
    "nadam": (torch.optim.NAdam, {"lr": 0.01, "weight_decay": 0.1}),
    "radam": (torch.optim.RAdam, {"lr": 0.01, "weight_decay": 0.1}),
    "asgd": (torch.optim.ASGD, {"lr": 0.01, "weight_decay": 0.1}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01, "centered": True, "momentum": 0.9}),
    "rprop": (torch.optim.Rprop, {"lr": 0.01}),
}


def _build(name: str = "residual") -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETS[name]().double()


def _sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)


def _attach(net: nn.Module, optimizer: Any, **told: Any) -> regrow.Regrower:
    return attach_traced(_dropping(), net, optimizer, example_inputs=_batch(0)[0], **told)


def _step(net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    x, y = _batch(step)
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()


def _silent(regrower: regrow.Regrower) -> dict[str, Tensor]:
    """Masks of everything that must be zero now."""
    frozen: dict[str, Tensor] = regrower.state_dict()["resting"]["frozen"]
    return {name: mask for name, mask in frozen.items() if "running" not in name}


def _assert_out(net: nn.Module, regrower: regrow.Regrower) -> None:
    silent = _silent(regrower)
    assert {"a.weight", "b.weight"} <= silent.keys()
    for name, mask in silent.items():
        parameter = net.get_parameter(name)
        assert mask.any()
        assert not parameter[mask].any(), name
        assert parameter.grad is None or not parameter.grad[mask].any(), name


@pytest.mark.parametrize(
    ("net", "name"),
    crossed(
        NETS,
        seldom(
            OPTIMIZERS, often=("sgd, dampened", "adam, fused", "adagrad", "nadam", "asgd", "rprop")
        ),
    ),
)
def test_no_optimizer_moves_what_is_out(net: str, name: str) -> None:
    model = _build(net)
    kind, options = OPTIMIZERS[name]
    optimizer = kind(model.parameters(), **options)  # type: ignore[call-arg]
    regrower = _attach(model, optimizer)
    for step in range(4):
        _step(model, optimizer, step)
    for step in range(4, 9):
        _step(model, optimizer, step)
        _assert_out(model, regrower)
    _step(model, optimizer, 9)
    assert not regrower.report.resting
    for step in range(10, 14):
        _step(model, optimizer, step)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert model.a.weight[list(GONE["a"])].any()  # type: ignore[union-attr, index]


@pytest.mark.parametrize("net", NETS)
def test_gradients_of_what_is_out_are_gone_before_anybody_counts_them(net: str) -> None:
    """The network that is left has no such gradients: a norm over all must not see them either."""
    model = _build(net)
    optimizer = _sgd(model)
    regrower = _attach(model, optimizer)
    for step in range(4):
        _step(model, optimizer, step)
    x, y = _batch(4)
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    F.cross_entropy(model(x), y).backward()  # accumulated
    _assert_out(model, regrower)
    with torch.enable_grad():
        wanted = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    named = [name for name, _ in model.named_parameters()]
    silent = _silent(regrower)
    heard = [grad[silent[name]] for name, grad in zip(named, wanted, strict=True) if name in silent]
    assert any(
        each.any() for each in heard
    )  # there are such gradients, and only the hooks take them away


def _halves(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    x, y = _batch(step)
    optimizer.zero_grad()
    for part in (slice(4), slice(4, 8)):
        F.cross_entropy(model(x[part]), y[part]).div(2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()


def _scaled(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    x, y = _batch(step)
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.cross_entropy(model(x.float()), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def _last(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    x, y = _batch(step)
    optimizer.zero_grad()
    F.cross_entropy(model(x.to(memory_format=torch.channels_last)), y).backward()
    optimizer.step()


def _by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Gradients that autograd does not put where they are."""
    x, y = _batch(step)
    grads = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        parameter.grad = grad.clone()
    optimizer.step()


WAYS: dict[str, tuple[Callable[..., None], Callable[[nn.Module], nn.Module]]] = {
    "accumulated and clipped": (_halves, lambda model: model),
    "scaled": (_scaled, lambda model: model.float()),
    "channels last": (_last, lambda model: model.to(memory_format=torch.channels_last)),
    "compiled": (_step, lambda model: torch.compile(model, backend="eager")),  # type: ignore[arg-type, return-value]
    "gradients by hand": (_by_hand, lambda model: model),
}


@pytest.mark.parametrize(("way", "net"), crossed(WAYS, NETS))
def test_every_way_of_training(way: str, net: str) -> None:
    train, wrapped = WAYS[way]
    bare = _build(net)
    model = wrapped(bare)
    optimizer = _sgd(model)
    example = _batch(0)[0].to(next(bare.parameters()).dtype)
    regrower = attach_traced(_dropping(), model, optimizer, example_inputs=example)
    for step in range(4):
        train(model, optimizer, step)
    for step in range(4, 9):
        train(model, optimizer, step)
        _assert_out(bare, regrower)
    train(model, optimizer, 9)
    assert not regrower.report.resting
    assert regrower.report.renewed == 3


def test_without_hooks_of_the_optimizer() -> None:
    model = _build()
    optimizer = _sgd(model)
    regrower = _attach(model, optimizer, hooks=False)
    for step in range(10):
        _step(model, optimizer, step)
        regrower.step()
        if 4 <= step < 9:
            _assert_out(model, regrower)
    assert regrower.report.renewed == 3


def test_a_dry_run_reports_and_changes_nothing() -> None:
    nets = [_build(), _build()]
    for number, model in enumerate(nets):
        optimizer = _sgd(model)
        regrower = _attach(model, optimizer, dry_run=True) if number else None
        for step in range(12):
            _step(model, optimizer, step)
            if regrower is not None and step == 6:
                assert regrower.report.resting == GONE
    assert regrower is not None
    assert [event.dropped for event in regrower.report.events] == [3, 3]
    for mine, other in zip(*(model.state_dict().values() for model in nets), strict=True):
        assert torch.equal(mine, other)
    regrower.detach()


@pytest.fixture
def amid() -> tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower]:
    """Filters are out."""
    model = _build()
    optimizer = _sgd(model)
    regrower = _attach(model, optimizer)
    for step in range(6):
        _step(model, optimizer, step)
    return model, optimizer, regrower


def test_detach_says_that_filters_stay_out(amid: Any) -> None:
    model, optimizer, regrower = amid
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.warns(RegrowWarning, match=r"3 filters are out .* call regrower.bring_back\(\)"):
        regrower.detach()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    regrower.detach()  # said once
    _step(model, optimizer, 6)  # nothing holds them any more
    assert model.nb.bias.grad[0] != 0


def test_bring_back_before_it_is_due(amid: Any) -> None:
    model, optimizer, regrower = amid
    heard: list[Renewed] = []
    regrower.on_renewal(heard.append)
    events = regrower.bring_back()
    assert heard == list(events) == regrower.report.events
    assert {event.layer: event.filters for event in events} == GONE
    assert {(event.step, event.dropped) for event in events} == {(5, 3)}
    assert not regrower.report.resting
    assert model.a.weight[1].any()
    assert regrower.bring_back() == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regrower.detach()
    _step(model, optimizer, 6)
    assert model.nb.bias.grad[0] != 0


def test_a_saved_model_is_a_plain_one(amid: Any) -> None:
    model, _, regrower = amid
    x, _ = _batch(50)
    plain = _build()
    plain.load_state_dict(copy.deepcopy(model.state_dict()))
    torch.testing.assert_close(plain.eval()(x), copy.deepcopy(model).eval()(x), rtol=0, atol=0)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    whole = torch.load(file, weights_only=False)
    assert torch.equal(whole.eval()(x), plain(x))
    F.cross_entropy(whole(x), torch.zeros(8, dtype=torch.int64)).backward()
    assert whole.nb.bias.grad[0] != 0  # nobody holds the copy
    assert regrower.report.resting == GONE


def test_killed_in_mid_phase_and_resumed(amid: Any) -> None:
    model, optimizer, regrower = amid
    file = io.BytesIO()
    torch.save([each.state_dict() for each in amid], file)
    other = _build()
    second = _sgd(other)
    third = _attach(other, second)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    for each, state in zip((other, second, third), saved, strict=True):
        each.load_state_dict(state)
    for step in range(6, 14):
        for net, its in ((model, optimizer), (other, second)):
            _step(net, its, step)
        if step < 9:
            _assert_out(other, third)
    assert third.report.events == regrower.report.events
    for mine, its in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, its)


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("masks", {"c": torch.ones(6, dtype=torch.bool)}, "dropped filters of 'c'"),
        ("frozen", {"a.weight": torch.ones(2, dtype=torch.bool)}, "silences a.weight"),
        ("saved", {}, "is not whole"),
    ],
)
def test_a_state_that_is_not_whole_changes_nothing(
    amid: Any, part: str, wrong: object, message: str
) -> None:
    _, _, regrower = amid
    state = regrower.state_dict()
    state["resting"] = {**state["resting"], part: wrong}
    with pytest.raises(StateError, match=message):
        regrower.load_state_dict(state)
    assert regrower.report.resting == GONE


def test_an_average_of_the_model_goes_through_the_phase_with_it() -> None:
    model = _build()
    optimizer = _sgd(model)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    regrower = _attach(model, optimizer, companions=[average])
    for step in range(10):
        _step(model, optimizer, step)
        average.update_parameters(model)
        if 4 <= step < 9:
            for name, mask in _silent(regrower).items():
                assert not average.module.get_parameter(name)[mask].any(), name
    gone = list(GONE["a"])
    assert torch.equal(average.module.a.weight[gone], model.a.weight[gone])  # type: ignore[union-attr, index]
    assert average(_batch(3)[0]).isfinite().all()


@pytest.mark.parametrize("policy", ["writer", "stream", "inner"])
def test_policies_for_streams(policy: str) -> None:
    """With all writers of a channel what reads it is silent too."""
    model = _build()
    optimizer = _sgd(model)
    recipe = regrow.RePr(s1=2, s2=4, cycles=1, unit="steps", rank_by="random")
    regrower = attach_traced(recipe, model, optimizer, example_inputs=_batch(0)[0], coupled=policy)  # type: ignore[arg-type]
    for step in range(5):
        _step(model, optimizer, step)
    out = regrower.report.resting
    assert out
    silent = _silent(regrower)
    if policy == "inner":
        assert out.keys() == {"a"}
    if policy == "stream":
        assert out.get("stem") == out.get("b")
        assert ("head.weight" in silent) == ("b" in out)
    for name, mask in silent.items():
        assert not model.get_parameter(name)[mask].any()
    for step in range(5, 9):
        _step(model, optimizer, step)
    assert not regrower.report.resting


def test_beside_another_recipe() -> None:
    """RandomOut would take a filter that is out, and has no gradient, for abandoned."""
    model = _build("sigmoid")
    optimizer = _sgd(model)
    lottery = regrow.RandomOut(
        confirm="gradient", threshold=0.5, every_steps=1, active_fraction=1.0
    )
    other = attach_traced(lottery, model, optimizer, example_inputs=_batch(0)[0])
    regrower = _attach(model, optimizer)
    for step in range(4):
        _step(model, optimizer, step)
    before = len(other.report.events)
    for step in range(4, 9):
        _step(model, optimizer, step)
        _assert_out(model, regrower)
    renewed = [
        (event.layer, filter)
        for event in other.report.events[before:]
        if event.step < 9
        for filter in event.filters
    ]
    assert renewed
    assert not {("a", 1), ("a", 4), ("b", 0)} & set(renewed)


def test_a_cycle_that_does_not_fit_is_not_begun() -> None:
    model = _build()
    optimizer = _sgd(model)
    with pytest.warns(NoEffectWarning, match="ends after 10: 0 are made"):
        regrower = _attach(model, optimizer, total_steps=10)
    for step in range(10):
        _step(model, optimizer, step)
    assert not regrower.report.resting
    assert not regrower.report.events


def test_a_saved_phase_ends_under_a_schedule_without_one(amid: Any) -> None:
    model, optimizer, regrower = amid
    state, out = regrower.state_dict(), dict(regrower.report.resting)
    with pytest.warns(RegrowWarning, match="filters are out"):
        regrower.detach()
    with pytest.warns(NoEffectWarning, match="0 are made"):
        other = _attach(model, optimizer, total_steps=9)
    other.load_state_dict(state)
    _step(model, optimizer, 6)
    assert out
    assert not other.report.resting
    assert {event.layer: event.filters for event in other.report.events} == out
