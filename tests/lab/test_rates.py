"""How the learning rate falls, against torch's own schedules and against a training by hand."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR

from lab.alone import run_trial
from regrow.errors import ConfigError
from regrow.lab import data as lab_data
from regrow.lab.assembly import build_model, epoch_order
from regrow.lab.member import decay
from regrow.lab.plan import plan
from regrow.study.document import Study, Training

MakeStudy = Callable[..., Study]


def shares(*, per_epoch: int, **settings: Any) -> list[float]:
    """What the rate is multiplied by in every step."""
    training = Training(**settings)
    steps = range(per_epoch * training.epochs)
    return [decay(training, done, per_epoch=per_epoch) for done in steps]


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        ({"schedule": "staircase", "stair_steps": 7}, lambda o: StepLR(o, 7, gamma=0.5)),
        (
            {"schedule": "staircase", "stair_steps": 4, "stair_factor": 0.1},
            lambda o: StepLR(o, 4, gamma=0.1),
        ),
        ({"schedule": "step"}, lambda o: StepLR(o, 15, gamma=0.1)),  # 30 % of 50
        ({"schedule": "cosine"}, lambda o: CosineAnnealingLR(o, 50)),
        ({}, lambda o: StepLR(o, 1000)),
    ],
)
def test_schedules_are_torchs(
    settings: dict[str, Any], schedule: Callable[[SGD], LRScheduler]
) -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule(optimizer)
    expected: list[float] = []
    for _ in range(50):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert shares(per_epoch=5, epochs=10, **settings) == pytest.approx(expected, rel=1e-12)


def test_annealing_is_a_straight_line_to_zero_over_the_last_epochs() -> None:
    found = shares(per_epoch=4, epochs=6, anneal_epochs=2)
    line = [float(Fraction(left, 8)) for left in range(8, 0, -1)]
    assert found == [1.0] * 16 + line
    assert shares(per_epoch=4, epochs=6) == [1.0] * 24


def test_the_warm_up_is_a_straight_line_to_the_whole_rate() -> None:
    line = [float(Fraction(step, 5)) for step in range(1, 6)]
    assert shares(per_epoch=4, epochs=3, warm_up_steps=5) == line + [1.0] * 7
    # It is torch's LinearLR from a fifth on, and it comes on top of a schedule.
    cosine = shares(per_epoch=4, epochs=3, schedule="cosine")
    both = shares(per_epoch=4, epochs=3, schedule="cosine", warm_up_steps=5)
    assert both == pytest.approx(
        [one * other for one, other in zip(cosine, line + [1.0] * 7, strict=True)], rel=1e-12
    )


def test_annealing_comes_on_top_of_a_schedule() -> None:
    stairs = {"schedule": "staircase", "stair_steps": 5}
    both = shares(per_epoch=4, epochs=6, anneal_epochs=3, **stairs)
    apart = zip(
        shares(per_epoch=4, epochs=6, **stairs),
        shares(per_epoch=4, epochs=6, anneal_epochs=3),
        strict=True,
    )
    assert both == pytest.approx([one * other for one, other in apart], rel=1e-12)


@pytest.mark.parametrize("engine", ["modules", "stack"])
def test_a_trial_takes_its_steps_at_these_rates(tiny_study: MakeStudy, engine: Any) -> None:
    settings = ("train.schedule=staircase", "train.stair_steps=4", "train.anneal_epochs=1")
    study = tiny_study(settings=settings, epochs=2)
    data = lab_data.load(study.data.name, settings=study.data.settings)
    (spec,) = [each for each in plan(study).trials if each.seed == 0]
    result = run_trial(spec, data, engine=engine)
    model = build_model(spec, data, seed=0).double()
    per_epoch = len(data.x_train) // 16
    assert per_epoch == 6
    # Halved after steps 4 and 8; the second epoch's six steps fall in a straight line besides.
    line = [Fraction(6 - step, 6) for step in range(6)]
    stairs = [Fraction(1, 2 ** (step // 4)) for step in range(12)]
    rates = [stairs[step] * (1 if step < 6 else line[step - 6]) for step in range(12)]
    for epoch in (1, 2):
        order = epoch_order(0, epoch=epoch, examples=len(data.x_train))
        for place, batch in enumerate(order.split(16)):
            loss = F.cross_entropy(model(data.x_train[batch].double()), data.y_train[batch])
            model.zero_grad()
            loss.backward()
            rate = 0.1 * float(rates[(epoch - 1) * 6 + place])
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.data -= rate * parameter.grad
        model.eval()
        after = F.cross_entropy(model(data.x_test.double()), data.y_test)
        model.train()
        assert result.epochs[epoch - 1].test_loss == pytest.approx(after.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (("train.schedule=staircase",), "'staircase' and stair_steps need each other"),
        (("train.stair_steps=5",), "'staircase' and stair_steps need each other"),
        (("train.stair_steps=0",), "train.stair_steps: must be at least 1, got 0"),
        (("train.stair_factor=1.0",), "train.stair_factor: must be below 1, got 1.0"),
        (("train.anneal_epochs=4",), r"anneal_epochs must be at most epochs \(3\), got 4"),
        (("train.warm_up_steps=-1",), "train.warm_up_steps: must be at least 0, got -1"),
        (("train.anneal_epochs=-1",), "train.anneal_epochs: must be at least 0, got -1"),
        (("train.eval_last_epochs=0",), "train.eval_last_epochs: must be at least 1, got 0"),
    ],
)
def test_wrong_values_are_one_line(
    tiny_study: MakeStudy, settings: tuple[str, ...], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        tiny_study(settings=settings)
