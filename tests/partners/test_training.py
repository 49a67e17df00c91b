"""Inside training loops: when networks meet, and what a loop may contain."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from partners.nets import (
    EPOCH,
    Plain,
    Residual,
    attach,
    batch,
    copies,
    differing,
    random,
    sgd,
    step_of,
    train,
)
from regrow.errors import ConfigError
from traced import attach_partners_traced


def _pair(dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    torch.manual_seed(0)
    return [Plain().to(dtype) for _ in range(2)]


def test_until_the_first_graft_training_is_bit_equal_and_then_it_is_not() -> None:
    models = _pair()
    twins = copy.deepcopy(models)
    optimizers, others = [sgd(m) for m in models], [sgd(m) for m in twins]
    grafter = attach(models, optimizers, hooks=True)
    for step in range(EPOCH):
        train(models, optimizers, 1, start=step)
        train(twins, others, 1, start=step)
        equal = [not differing(copies(a), copies(b)) for a, b in zip(models, twins, strict=True)]
        assert equal == [step < EPOCH - 1] * 2
    assert grafter.report.grafts == 1
    assert {event.step for event in grafter.report.events} == {EPOCH - 1}


def test_the_graft_comes_right_after_the_last_networks_step() -> None:
    """Epoch by epoch or in turns: the same bits, as grafting sees only what the optimizers left."""
    ends = []
    for turns in (True, False):
        models = _pair()
        optimizers = [sgd(model, lr) for model, lr in zip(models, (0.05, 0.1), strict=True)]
        attach(models, optimizers, hooks=True)
        if turns:
            train(models, optimizers, 2 * EPOCH)
        else:
            for epoch in range(2):
                for k in range(2):
                    for step in range(epoch * EPOCH, (epoch + 1) * EPOCH):
                        step_of(models[k], optimizers[k], step, network=k)
        ends.append([copies(model) for model in models])
    for first, second in zip(*ends, strict=True):
        assert differing(first, second) == []


def test_networks_that_are_alike_diverge_again() -> None:
    models = _pair()
    optimizers = [sgd(model) for model in models]
    grafter = attach(models, optimizers, hooks=True)
    train(models, optimizers, EPOCH)
    assert differing(*(dict(model.named_parameters()) for model in models)) == []
    train(models, optimizers, EPOCH, start=EPOCH)
    last = [event for event in grafter.report.events if event.step == 2 * EPOCH - 1]
    assert len(last) == 6
    assert min(event.distance for event in last) > 0


def test_partners_that_get_out_of_step_are_told() -> None:
    models = _pair()
    optimizers = [sgd(model) for model in models]
    attach(models, optimizers, hooks=True)
    for step in range(EPOCH):
        step_of(models[0], optimizers[0], step)
    before = copies(models[0])
    with pytest.raises(
        ConfigError, match=r"network 0 waits to be grafted after 4 steps, and network 1 has made 0"
    ):
        step_of(models[0], optimizers[0], EPOCH)
    parameters = dict(models[0].named_parameters())
    assert all(torch.equal(before[name], value) for name, value in parameters.items())
    for step in range(EPOCH):
        step_of(models[1], optimizers[1], step)
    step_of(models[0], optimizers[0], EPOCH)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [3, 7, 11]),
        ({"at_end": True}, [3, 7, 11, 15]),
        ({"every_epochs": 2}, [7]),
        ({"active_fraction": 0.5}, [3, 7]),
    ],
)
def test_when_they_meet(settings: dict[str, Any], steps: list[int]) -> None:
    models = _pair()
    optimizers = [sgd(model) for model in models]
    grafter = attach_partners_traced(
        regrow.FilterGrafting(**settings),
        models,
        optimizers,
        example_inputs=torch.zeros(2, 1, 8, 8),
        total_steps=4 * EPOCH,
        steps_per_epoch=EPOCH,
    )
    train(models, optimizers, 4 * EPOCH)
    assert sorted({event.step for event in grafter.report.events}) == steps
    assert grafter.report.steps == 4 * EPOCH


def test_without_hooks_the_loop_says_when() -> None:
    hooked, free = _pair(), _pair()
    first, second = ([sgd(model) for model in models] for models in (hooked, free))
    attach(hooked, first, hooks=True)
    grafter = attach(free, second)
    for epoch in range(2):
        train(hooked, first, EPOCH, start=epoch * EPOCH)
        train(free, second, EPOCH, start=epoch * EPOCH)
        events = grafter.graft()
        assert [event.step for event in events] == [epoch] * 6
    for one, other in zip(hooked, free, strict=True):
        assert differing(copies(one), copies(other)) == []
    with pytest.raises(ConfigError, match=r"graft\(\) is for attach_partners\(hooks=False\)"):
        attach(_pair(), hooks=True).graft()


def test_detached_networks_train_alone() -> None:
    models = _pair()
    optimizers = [sgd(model) for model in models]
    with attach(models, optimizers, hooks=True) as grafter:
        train(models, optimizers, 1)
    train(models, optimizers, 2 * EPOCH, start=1)
    assert grafter.report.grafts == 0
    assert grafter.report.steps == 1


def test_a_closure_makes_one_step() -> None:
    models = _pair()
    optimizers = [sgd(model) for model in models]
    grafter = attach(models, optimizers, hooks=True)
    for step in range(EPOCH):
        for k in range(2):
            images, labels = batch(step, network=k)

            def closure(k: int = k, x: torch.Tensor = images, y: torch.Tensor = labels) -> Any:
                optimizers[k].zero_grad()
                loss = nn.functional.cross_entropy(models[k](x), y)
                loss.backward()
                return loss

            optimizers[k].step(closure)
    assert (grafter.report.steps, grafter.report.grafts) == (EPOCH, 1)


def test_several_optimizers_of_a_network_end_their_step_with_the_last() -> None:
    models = _pair()

    def two(model: nn.Module) -> list[torch.optim.Optimizer]:
        inner = [p for name, p in model.named_parameters() if not name.startswith("head")]
        head = list(model.get_submodule("head").parameters())
        return [torch.optim.SGD(inner, lr=0.05, momentum=0.9), torch.optim.Adam(head, lr=0.01)]

    several = [two(model) for model in models]
    grafter = attach(models, several, hooks=True, memory="reset")
    for step in range(EPOCH):
        for k, model in enumerate(models):
            images, labels = batch(step, network=k)
            model.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            for optimizer in several[k]:
                assert grafter.report.grafts == 0
                optimizer.step()
    assert grafter.report.grafts == 1
    assert not any(optimizer.state for pair in several for optimizer in pair)


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_that_leaves_steps_out(fused: bool) -> None:
    """With hooks off and graft() at the end of an epoch nobody gets out of step."""
    models = _pair()
    optimizers = [
        torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=fused) for model in models
    ]
    scalers = [torch.amp.GradScaler("cpu", init_scale=4.0) for _ in models]
    grafter = attach(models, optimizers)
    for step in range(EPOCH):
        for k, model in enumerate(models):
            images, labels = batch(step, network=k)
            optimizers[k].zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            factor = math.inf if (step, k) == (1, 0) else 1.0
            (scalers[k].scale(loss) * factor).backward()
            scalers[k].step(optimizers[k])
            scalers[k].update()
    grafter.graft()
    first, second = (dict(model.named_parameters()) for model in models)
    assert all(bool(value.isfinite().all()) for value in first.values())
    assert differing(first, second) == []


def test_a_compiled_network_is_grafted_where_it_runs() -> None:
    plain, inside = _pair(), _pair()
    compiled = [torch.compile(model, backend="eager") for model in inside]
    first, second = [sgd(m) for m in plain], [sgd(m) for m in inside]
    attach(plain, first, hooks=True)
    grafter = attach(compiled, second, hooks=True)  # type: ignore[arg-type]
    train(plain, first, EPOCH + 2)
    train(compiled, second, EPOCH + 2)  # type: ignore[arg-type]
    assert grafter.report.grafts == 1
    for one, other in zip(plain, inside, strict=True):
        assert differing(copies(one), copies(other)) == []


def test_wrapped_optimizers_and_a_wiring_from_outside() -> None:
    class Wrapped:
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

    models, twins = ([random(Residual, seed) for seed in range(2)] for _ in range(2))
    wiring = regrow.trace(models[0], torch.zeros(2, 1, 8, 8, dtype=torch.float64))
    attach(models, [Wrapped(sgd(model)) for model in models], wiring=wiring).graft()
    attach(twins).graft()
    assert differing(copies(models[0]), copies(twins[0])) == []
