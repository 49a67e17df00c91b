"""What all callbacks share: when they attach, what the clock is, and what a missing package is told."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.errors import MissingExtraError
from regrow.integrations import accelerate
from regrow.integrations.guest import Course, Guest

IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(16) % 3


class Network(nn.Module):
    """Takes its inputs by place and by name."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8 * 36, 3)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        found = self.conv(x).relu().flatten(1)
        return self.head(found if scale is None else found * scale)


def _parts() -> tuple[Network, torch.optim.Optimizer]:
    model = Network()
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def _recipe() -> regrow.Recipe:
    return regrow.RandomOut(confirm="gradient", threshold=0.1, active_fraction=0.5)


def _train(model: Network, optimizer: torch.optim.Optimizer, steps: int, **named: Any) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(IMAGES, **named), LABELS).backward()
        optimizer.step()


def _last(guest: Guest) -> int | None:
    """The last step in which the recipe may act: half of what it takes for the whole training."""
    assert guest.regrower is not None
    return guest.regrower._stepper._last_step


def test_it_attaches_at_the_first_call_with_what_came_by_place_and_by_name() -> None:
    (model, optimizer), guest = _parts(), Guest(_recipe(), {})
    guest.begin()
    guest.attach_at_first_call(model, optimizer, course=Course(total=8))
    assert guest.waits
    _train(model, optimizer, 2, scale=torch.ones(1))
    assert not guest.waits
    assert guest.regrower is not None
    assert guest.regrower.report.steps == 2


def test_a_training_that_ends_before_its_first_call_leaves_nothing() -> None:
    (model, optimizer), guest = _parts(), Guest(_recipe(), {})
    guest.begin()
    guest.attach_at_first_call(model, optimizer, course=Course(total=8))
    guest.end()
    _train(model, optimizer, 1)
    assert guest.regrower is None


@pytest.mark.parametrize(
    ("done", "total"),
    [
        pytest.param(5, 20, id="resumed, with one step that a scaler has skipped"),
        pytest.param(None, 20, id="resumed, and the trainer does not count"),
        pytest.param(
            0, 24, id="trained once more: the trainer begins at 0, the optimizer does not"
        ),
    ],
)
def test_the_clock_goes_on_as_the_trainers_does(done: int | None, total: int) -> None:
    model, optimizer = _parts()
    first = Guest(_recipe(), {})
    first.attach(model, optimizer, inputs=IMAGES[:2], course=Course(total=20))
    _train(model, optimizer, 4)
    state = optimizer.state_dict()

    again, resumed = _parts()
    resumed.load_state_dict(state)
    again.load_state_dict(model.state_dict())
    second, whole = Guest(_recipe(), {}), Guest(_recipe(), {"total_steps": total})
    second.attach(again, resumed, inputs=IMAGES[:2], course=Course(total=20, done=done))
    assert second.regrower is not None
    assert second.regrower.report.steps == 4
    whole.attach(*_parts(), inputs=IMAGES[:2], course=Course(total=None))
    assert _last(second) == _last(whole)


def test_a_new_optimizer_has_what_is_left_of_the_trainers_steps() -> None:
    one, other = Guest(_recipe(), {}), Guest(_recipe(), {})
    one.attach(*_parts(), inputs=IMAGES[:2], course=Course(total=30, done=10))
    other.attach(*_parts(), inputs=IMAGES[:2], course=Course(total=20))
    assert _last(one) == _last(other)


def test_an_option_says_more_than_the_trainer() -> None:
    one, other = Guest(_recipe(), {"total_steps": 8, "seed": 5}), Guest(_recipe(), {"seed": 5})
    one.attach(*_parts(), inputs=IMAGES[:2], course=Course(total=100))
    other.attach(*_parts(), inputs=IMAGES[:2], course=Course(total=8))
    assert _last(one) == _last(other)


def test_a_guard_alone_is_a_guest_too() -> None:
    guest = Guest(regrow.StepLimit(), {})
    guest.attach(*_parts(), inputs=IMAGES[:2], course=Course(total=8))


@pytest.mark.parametrize("behind", [False, True], ids=["before the load", "behind it"])
def test_accelerate_needs_to_be_asked_for_its_accumulation_alone(behind: bool) -> None:
    class Accelerator:
        gradient_accumulation_steps = 2

    def attach(model: nn.Module, optimizer: object) -> regrow.Regrower:
        return accelerate.attach(
            Accelerator(),
            _recipe(),
            model,
            optimizer,
            loader=range(5),
            epochs=4,
            example_inputs=IMAGES[:2],
        )

    model, optimizer = _parts()
    regrower = attach(model, optimizer)
    assert regrower._stepper.total_steps == 12
    _train(model, optimizer, 3)
    again, resumed = _parts()
    regrower = None if behind else attach(again, resumed)
    again.load_state_dict(model.state_dict())
    resumed.load_state_dict(optimizer.state_dict())
    regrower = regrower or attach(again, resumed)
    assert (regrower.report.steps, regrower._stepper.total_steps) == (3, 12)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("integrations.lightning", "lightning", "lightning"),
        ("integrations.transformers", "transformers", "transformers"),
        ("integrations.ignite", "ignite", "ignite"),
        ("integrations.skorch", "skorch", "skorch"),
    ],
)
def test_a_missing_package_is_told_with_its_extra(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, each)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"regrow.{name}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"pip install 'regrow\[{extra}\]'"):
        importlib.import_module(f"regrow.{name}")


@pytest.mark.parametrize(
    ("log", "package", "extra"),
    [
        ("WandbLog", "wandb", "wandb"),
        ("MLflowLog", "mlflow", "mlflow"),
        ("TensorBoardLog", "torch.utils.tensorboard", "tensorboard"),
    ],
)
def test_a_missing_log_is_told_with_its_extra(
    log: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    make = getattr(importlib.import_module("regrow.logs"), log)
    with pytest.raises(MissingExtraError, match=rf"pip install 'regrow\[{extra}\]'"):
        make("runs") if log == "TensorBoardLog" else make()
