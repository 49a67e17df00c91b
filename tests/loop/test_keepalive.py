"""KeepAlive in training loops: its guard, its gain check and its renewals, each where there is something to do."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import regrow
from crossed import crossed, seldom
from regrow.criteria import Liveness
from regrow.errors import ConfigError
from regrow.guard import StepLimit
from traced import attach_traced

IMAGES = torch.rand(12, 32, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.randint(0, 3, (12, 32), generator=torch.Generator().manual_seed(2))
Make = Callable[[nn.Module], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=2.0),
    "momentum": lambda net: torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9),
    "adam": lambda net: torch.optim.Adam(net.parameters(), lr=0.2),
    "fused": lambda net: torch.optim.AdamW(net.parameters(), lr=0.2, fused=True),
}


def network(*, faint: float = 1e-3) -> nn.Sequential:
    """A filter and a hidden unit that are dead, and a layer that passes next to nothing on."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 36, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )
    with torch.no_grad():
        net[3].weight.mul_(faint)
        net[0].bias[1] = net[3].bias[2] = -100.0
        net[0].weight[1] = net[3].weight[2] = 0.0
    return net


def recipe(**settings: Any) -> regrow.Recipe:
    """With a window that ends within a few steps."""
    made = regrow.KeepAlive(**settings)
    if not isinstance(made.criterion, Liveness):
        return made
    return made.with_parts(criterion=replace(made.criterion, examples=100))


def attached(
    net: nn.Module, optimizer: Any, given: regrow.Recipe | None = None, **more: Any
) -> regrow.Regrower:
    return attach_traced(
        given or recipe(), net, optimizer, example_inputs=IMAGES[0], total_steps=12, **more
    )


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        cross_entropy(net(IMAGES[step]), LABELS[step]).backward()
        optimizer.step()


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", seldom(OPTIMIZERS, often=["momentum", "fused"]))
def test_all_its_parts_act_and_the_network_stays_finite(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name](net)
    regrower = attached(net, optimizer)
    train(net, optimizer, range(12))
    report = regrower.report
    assert list(report.gains) == ["3"]
    assert "5" in report.guarded
    renewed = {(event.layer, unit) for event in report.events for unit in event.filters}
    assert renewed >= {("0", 1), ("3", 2)}
    assert all(bool(each.isfinite().all()) for each in net.parameters())
    said = str(report)
    assert "weights times" in said
    assert "steps that the guard has shortened" in said


@pytest.mark.parametrize("name", seldom(OPTIMIZERS, often=["sgd", "adam"]))
def test_no_step_moves_a_layer_by_more_than_its_share(name: str) -> None:
    """Weight and bias of a layer together, measured here in float64."""
    net = network(faint=1.0)
    optimizer = OPTIMIZERS[name](net)
    attached(net, optimizer, recipe(renew_dead=False))
    layers = [net[0], net[3], net[5]]
    fresh = [
        (each.weight.numel() + each.bias.numel()) / 3 / each.weight[0].numel() for each in layers
    ]
    for step in range(12):
        before = [
            torch.cat([p.detach().double().flatten() for p in each.parameters()]) for each in layers
        ]
        train(net, optimizer, range(step, step + 1))
        for old, layer, square in zip(before, layers, fresh, strict=True):
            now = torch.cat([p.detach().double().flatten() for p in layer.parameters()])
            assert (now - old).norm() <= 0.1 * max(float(old.norm()), square**0.5) * (1 + 1e-5)


def test_where_nothing_is_to_be_done_training_is_bit_equal() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(6 * 36, 3))
    plain = copy.deepcopy(net)
    optimizers = [torch.optim.Adam(each.parameters(), lr=1e-3) for each in (net, plain)]
    regrower = attached(net, optimizers[0])
    train(net, optimizers[0], range(12))
    train(plain, optimizers[1], range(12))
    assert same(net, plain)
    assert not regrower.report.gains
    assert not regrower.report.guarded


@pytest.mark.parametrize(
    ("name", "at"), crossed(seldom(OPTIMIZERS, often=["momentum", "adam", "fused"]), [1, 4, 9])
)
def test_resumed_is_uninterrupted(name: str, at: int) -> None:
    make, whole = OPTIMIZERS[name], network()
    optimizer = make(whole)
    regrower = attached(whole, optimizer)
    train(whole, optimizer, range(12))

    first = network()
    began = make(first)
    stopped = attached(first, began)
    train(first, began, range(at))
    file = io.BytesIO()
    torch.save([first.state_dict(), began.state_dict(), stopped.state_dict()], file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)

    second = network()
    resumed = make(second)
    again = attached(second, resumed)
    for each, state in zip((second, resumed, again), saved, strict=True):
        each.load_state_dict(state)
    train(second, resumed, range(at, 12))
    assert same(whole, second)
    assert again.report.guarded == regrower.report.guarded
    assert again.report.gains == regrower.report.gains
    assert again.report.events == regrower.report.events


@pytest.mark.parametrize(
    ("name", "poison"),
    crossed(
        seldom(OPTIMIZERS, often=["momentum", "adam", "fused"]), [float("nan"), float("inf"), 1e25]
    ),
)
def test_a_step_that_would_poison_is_not_made(name: str, poison: float) -> None:
    """As in a training without that batch: weights, optimizer state and counts, renewals before and after."""
    make = OPTIMIZERS[name]
    poisoned, plain = network(faint=1.0), network(faint=1.0)
    optimizers = [make(poisoned), make(plain)]
    regrowers = [
        attached(each, one) for each, one in zip((poisoned, plain), optimizers, strict=True)
    ]
    for step in range(12):
        if step == 8:  # behind renewals: young entries are corrected by nobody then
            optimizers[0].zero_grad()
            cross_entropy(poisoned(IMAGES[step]), LABELS[step]).backward()
            assert poisoned[5].weight.grad is not None
            poisoned[5].weight.grad[0, 0] = poison
            before = poisoned[5].weight.grad.clone()
            optimizers[0].step()
            assert torch.equal(poisoned[5].weight.grad.nan_to_num(), before.nan_to_num())
        else:
            train(poisoned, optimizers[0], range(step, step + 1))
            train(plain, optimizers[1], range(step, step + 1))
    assert same(poisoned, plain)
    assert regrowers[0].report.refused == 1
    assert regrowers[0].report.steps == regrowers[1].report.steps == 11
    states = [one.state_dict()["state"] for one in optimizers]
    for number, own in states[0].items():
        for key, value in own.items():
            other = states[1][number][key]
            assert torch.equal(value, other) if isinstance(value, Tensor) else value == other


def test_a_loop_without_hooks_is_the_same() -> None:
    hooked, called = network(), network()
    optimizers = [OPTIMIZERS["adam"](each) for each in (hooked, called)]
    attached(hooked, optimizers[0])
    regrower = attached(called, optimizers[1], hooks=False)
    train(hooked, optimizers[0], range(12))
    for step in range(12):
        optimizers[1].zero_grad()
        cross_entropy(called(IMAGES[step]), LABELS[step]).backward()
        regrower.before_step()
        optimizers[1].step()
        regrower.after_step()
    assert same(hooked, called)
    with pytest.raises(ConfigError, match="must see the gradients before the optimizer's step"):
        regrower.step()


def test_two_optimizers_are_one_step() -> None:
    one, two = network(), network()
    single = torch.optim.SGD(one.parameters(), lr=1.0, momentum=0.9)
    split = [
        torch.optim.SGD(part.parameters(), lr=1.0, momentum=0.9) for part in (two[:3], two[3:])
    ]
    reports = [attached(one, single).report, attached(two, split).report]
    train(one, single, range(12))
    for step in range(12):
        for each in split:
            each.zero_grad()
        cross_entropy(two(IMAGES[step]), LABELS[step]).backward()
        for each in split:
            each.step()
    assert same(one, two)
    assert reports[0].guarded == reports[1].guarded


def test_accumulation_and_clipping_and_a_closure() -> None:
    whole, parts = network(), network()
    optimizers = [torch.optim.SGD(each.parameters(), lr=1.0) for each in (whole, parts)]
    reports = [
        attached(each, one).report for each, one in zip((whole, parts), optimizers, strict=True)
    ]

    for step in range(12):

        def closure(step: int = step) -> Tensor:
            optimizers[0].zero_grad()
            loss = cross_entropy(whole(IMAGES[step]), LABELS[step])
            loss.backward()
            return loss

        optimizers[0].step(closure)
        optimizers[1].zero_grad()
        for half in (slice(0, 16), slice(16, 32)):
            (cross_entropy(parts(IMAGES[step][half]), LABELS[step][half]) / 2).backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1e9)
        optimizers[1].step()
    for report in reports:
        assert report.guarded
        assert report.events
        assert list(report.gains) == ["3"]


def test_mixed_precision_with_a_scaler() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    report = attached(net, optimizer).report
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(12):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = cross_entropy(net(IMAGES[step]).float(), LABELS[step])
        scaler.scale(loss).backward()
        if step == 6:
            assert net[0].weight.grad is not None
            net[0].weight.grad[0] = (
                torch.inf
            )  # the scaler passes this step by, and regrow does with it
        scaler.step(optimizer)
        scaler.update()
    assert report.steps == 11
    assert report.refused == 0
    assert report.guarded
    assert report.events
    assert all(bool(each.isfinite().all()) for each in net.parameters())


@pytest.mark.slow
def test_a_compiled_model() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    compiled = torch.compile(net, backend="eager")
    report = attached(compiled, optimizer).report  # type: ignore[arg-type]
    train(compiled, optimizer, range(12))  # type: ignore[arg-type]
    assert list(report.gains) == ["3"]
    assert report.guarded
    assert report.events


def test_gains_are_checked_at_the_beginning_alone() -> None:
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    train(net, optimizer, range(1))
    before = copy.deepcopy(net)
    report = attached(net, optimizer).report
    net(IMAGES[0])
    assert not report.gains
    assert same(net, before)


def test_no_gain_is_checked_by_an_evaluation_and_companions_are_scaled_too() -> None:
    net = network()
    ema = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    regrower = attached(net, optimizer, companions=[ema])
    before = net[3].weight.detach().clone()
    with torch.no_grad():
        net(IMAGES[0])
    net.eval()
    net(IMAGES[0])
    assert torch.equal(net[3].weight, before)
    net.train()
    net(IMAGES[0])
    train(net, optimizer, range(1))
    gain = regrower.report.gains["3"]
    assert gain > 10
    alive = [unit for unit in range(8) if unit != 2]
    assert torch.equal(ema[3].weight[alive], (before * gain)[alive])


class Encoder(nn.Module):
    """A transformer, and a classifier of its first token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[:, 0])


def test_of_a_transformer_hidden_units_alone_are_watched() -> None:
    net = Encoder()
    optimizer = torch.optim.AdamW(net.parameters())
    x = torch.randn(4, 5, 16)
    regrower = attach_traced(regrow.KeepAlive(), net, optimizer, example_inputs=x, total_steps=9)
    assert list(regrower.report.layers) == ["layer.linear1"]
    assert any("include=[...] takes them" in note for note in regrower.report.notes)
    regrower.detach()
    named = attach_traced(
        *(regrow.KeepAlive(), net, optimizer),
        example_inputs=x,
        total_steps=9,
        include=["layer.linear2"],
    )
    assert list(named.report.layers) == ["layer.linear2"]


def test_a_training_of_unknown_length_is_looked_after_to_its_end() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    regrower = attach_traced(regrow.KeepAlive(), net, optimizer, example_inputs=IMAGES[0])
    assert any("total_steps is not known" in note for note in regrower.report.notes)
    regrower.detach()
    told = attached(net, optimizer).report.notes
    assert not any("total_steps" in note for note in told)


def test_a_guard_alone_is_a_recipe() -> None:
    net, plain = network(faint=1.0), network(faint=1.0)
    optimizers = [torch.optim.SGD(each.parameters(), lr=5.0) for each in (net, plain)]
    regrower = attach_traced(StepLimit(fraction=0.05), net, optimizers[0], example_inputs=IMAGES[0])
    train(net, optimizers[0], range(4))
    train(plain, optimizers[1], range(4))
    assert regrower.report.guarded
    assert not regrower.report.events
    assert not same(net, plain)


def test_a_dry_run_changes_nothing() -> None:
    net, plain = network(), network()
    optimizers = [torch.optim.SGD(each.parameters(), lr=2.0) for each in (net, plain)]
    attached(net, optimizers[0], dry_run=True)
    train(net, optimizers[0], range(12))
    train(plain, optimizers[1], range(12))
    assert same(net, plain)


def test_a_gain_check_without_a_guard_is_reported() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    regrower = attached(net, optimizer, recipe(step_limit=0))
    train(net, optimizer, range(2))
    assert list(regrower.report.gains) == ["3"]
    assert not regrower.report.guarded


@pytest.mark.parametrize("whole", [True, False])
def test_gains_that_could_not_be_checked_are_said(whole: bool) -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    regrower = attached(net, optimizer)
    given = net(IMAGES[0]) if whole else net[3:](net[:3](IMAGES[0]))
    cross_entropy(given, LABELS[0]).backward()
    optimizer.step()
    said = [note for note in regrower.report.notes if note.startswith("gains were not checked")]
    assert len(said) == (not whole)
    assert bool(regrower.report.gains) is whole
