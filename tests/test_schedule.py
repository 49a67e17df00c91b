"""Schedules: which steps, and what happens without an end."""

import copy
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import regrow
from regrow.errors import ConfigError, NoEffectWarning
from regrow.schedule import AtSteps, Clock, Cycles, Every, Schedule


def _due(schedule: Every, steps: int, **clock: int) -> list[int]:
    bound = schedule.bind(Clock(**clock), where="test")
    return [step for step in range(steps) if step in bound.steps]


def test_every_step_by_default() -> None:
    assert _due(Every(), 5) == [0, 1, 2, 3, 4]


def test_intervals_and_the_active_part() -> None:
    assert _due(Every(steps=3), 10) == [2, 5, 8]
    assert _due(Every(active_fraction=0.6), 10, total_steps=10) == [0, 1, 2, 3, 4, 5]
    assert _due(Every(epochs=2, active_fraction=0.5), 20, total_steps=20, steps_per_epoch=4) == [7]
    assert _due(Every(), 10, total_steps=6) == [0, 1, 2, 3, 4, 5]


def test_nothing_at_the_end_of_the_training() -> None:
    """Only its very last step is left out, where it is known which that is."""
    assert _due(Every(steps=3), 9, total_steps=9) == [2, 5, 8]
    assert _due(Every(steps=3, at_end=False), 9, total_steps=9) == [2, 5]
    assert _due(Every(steps=3, at_end=False), 9, total_steps=10) == [2, 5, 8]
    assert _due(Every(steps=3, at_end=False), 9) == [2, 5, 8]
    by_epoch = Every(epochs=1, at_end=False)
    assert _due(by_epoch, 12, total_steps=12, steps_per_epoch=4) == [3, 7]
    halfway = Every(steps=3, active_fraction=0.5, at_end=False)
    assert _due(halfway, 12, total_steps=12) == [2, 5]  # it ends before the training does
    for at_end, last in ((True, 5), (False, 4)):
        assert Every(at_end=at_end).bind(Clock(total_steps=6), where="test").last_step == last


def test_nothing_but_the_end_is_nothing_and_says_so() -> None:
    schedule = Every(epochs=1, at_end=False)
    with pytest.warns(NoEffectWarning, match=r"after 4 steps.*after 3 of 4 .*at_end=False"):
        assert _due(schedule, 4, total_steps=4, steps_per_epoch=4) == []


def test_share_zero_acts_never_and_says_so() -> None:
    with pytest.warns(NoEffectWarning, match="test will never act.*after 0 of 10"):
        assert _due(Every(active_fraction=0.0), 10, total_steps=10) == []


def test_interval_longer_than_the_active_part_warns() -> None:
    with pytest.warns(
        NoEffectWarning, match="first check is due after 8 steps.*ends after 5 of 10"
    ):
        Every(steps=8, active_fraction=0.5).bind(Clock(total_steps=10), where="test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 2, "epochs": 1}, "not both"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 2.5}, "steps must be a whole number of at least 1, got 2.5"),
        ({"epochs": -1}, "epochs must be a whole number of at least 1, got -1"),
        ({"active_fraction": 1.2}, r"active_fraction must be within \[0, 1\], got 1.2"),
        ({"active_fraction": float("nan")}, r"within \[0, 1\], got nan"),
        ({"at_end": 0}, "at_end must be true or false, got 0"),
    ],
)
def test_bad_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Every(**settings)  # type: ignore[arg-type]


def test_missing_lengths() -> None:
    with pytest.raises(
        ConfigError, match=r"active_fraction=0.5 needs attach\(total_steps=\.\.\.\)"
    ):
        Every(active_fraction=0.5).bind(Clock(), where="test")
    with pytest.raises(ConfigError, match=r"epochs=1 needs attach\(steps_per_epoch=\.\.\.\)"):
        Every(epochs=1).bind(Clock(total_steps=5), where="test")
    with pytest.raises(
        ConfigError, match="total_steps must be a whole number of at least 1, got 0"
    ):
        Clock(total_steps=0)


def test_at_steps() -> None:
    schedule = AtSteps.of([4, 4, 9])
    bound = schedule.bind(Clock(), where="test")
    assert [step for step in range(12) if step in bound.steps] == [4, 9]
    assert bound.last_step == 9
    assert AtSteps.of([]).bind(Clock(), where="test").last_step == -1


def _phases(schedule: Cycles, steps: int, **clock: int) -> tuple[list[int], list[int]]:
    """The steps after which filters leave, and those after which they are back."""
    bound = schedule.bind(Clock(**clock), where="test")
    out, left, back = False, [], []
    for step in range(steps):
        if step in bound.steps:
            assert not out
            out = True
            left.append(step)
        elif out and step + 1 not in bound.reduced:
            out = False
            back.append(step)
    return left, back


def test_cycles_in_steps_and_in_epochs() -> None:
    in_steps = Cycles(s1=3, s2=2, cycles=2, unit="steps")
    assert _phases(in_steps, 40) == ([2, 7], [4, 9])
    assert in_steps.bind(Clock(), where="test").last_step == 9
    in_epochs = Cycles(s1=1, s2=2, cycles=1)
    assert _phases(in_epochs, 40, steps_per_epoch=5) == ([4], [14])
    shortest = Cycles(s1=1, s2=1, cycles=3, unit="steps")
    assert _phases(shortest, 12) == ([0, 2, 4], [1, 3, 5])


def test_cycles_that_fit_say_nothing() -> None:
    cycles = Cycles(s1=3, s2=2, cycles=2, unit="steps")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _phases(cycles, 11, total_steps=11) == ([2, 7], [4, 9])


@pytest.mark.parametrize(
    ("total", "made", "phases"),
    [
        (2, 0, ([], [])),
        (3, 0, ([], [])),
        (4, 0, ([], [])),  # they would stay out
        (5, 0, ([], [])),  # they would come back untrained
        (6, 1, ([2], [4])),
        (9, 1, ([2], [4])),
        (10, 1, ([2], [4])),
    ],
)
def test_cycles_that_do_not_fit_are_not_begun(
    total: int, made: int, phases: tuple[list[int], list[int]]
) -> None:
    cycles = Cycles(s1=3, s2=2, cycles=2, unit="steps")
    with pytest.warns(
        NoEffectWarning, match=f"test: 2 cycles take 10 steps .* after {total}: {made} are made "
    ):
        bound = cycles.bind(Clock(total_steps=total), where="test")
    assert bound.last_step == made * 5 - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert _phases(cycles, total, total_steps=total) == phases


def test_what_is_out_comes_back_wherever_the_network_should_be_whole() -> None:
    bound = Cycles(s1=3, s2=2, cycles=1, unit="steps").bind(Clock(), where="test")
    assert [step for step in range(2, 9) if step + 1 in bound.reduced] == [2, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"s1": 0}, "s1 must be a whole number of at least 1, got 0"),
        ({"s2": 1.5}, "s2 must be a whole number of at least 1, got 1.5"),
        ({"s1": "3"}, "s1 must be a whole number of at least 1, got '3'"),
        ({"s1": float("nan")}, "s1 must be a whole number of at least 1, got nan"),
        ({"cycles": None}, "cycles must be a whole number of at least 1, got None"),
        ({"cycles": -1}, "cycles must be a whole number of at least 1, got -1"),
        ({"unit": "days"}, "unit must be 'epochs' or 'steps', got 'days'"),
    ],
)
def test_bad_cycles(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cycles(**{"s1": 2, "s2": 1, "cycles": 1, **settings})


def test_cycles_in_epochs_need_their_length() -> None:
    with pytest.raises(
        ConfigError, match=r"need attach\(steps_per_epoch=\.\.\.\), or set unit='st"
    ):
        Cycles(s1=2, s2=1, cycles=1).bind(Clock(total_steps=9), where="test")


@pytest.mark.parametrize("name", ["total_steps", "steps_per_epoch"])
@pytest.mark.parametrize("length", ["abc", float("nan"), math.inf, 0, -1, 2.5, True, [3], object()])
def test_a_length_that_is_none_is_said(name: str, length: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number of at least 1, got "):
        Clock(**{name: length})  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [3, 3.0, np.int64(3), torch.tensor(3)])
def test_whole_numbers_of_others_are_lengths(length: int) -> None:
    assert Clock(total_steps=length).total_steps == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [("due", "step in schedule.steps"), ("ends", "step + 1 not in schedule.reduced")],
)
def test_a_method_of_earlier_versions_says_what_is_in_its_place(old: str, new: str) -> None:
    bound = Every().bind(Clock(), where="test")
    with pytest.raises(AttributeError, match=re.escape(f"BoundSchedule.{old}(step) is now: {new}")):
        getattr(bound, old)
    assert not hasattr(bound, "others")
    assert copy.copy(bound) == bound


class Methods(Schedule):
    """Binds to what a bound schedule was in earlier versions."""

    last_step = None

    def bind(self, clock: Clock, *, where: str) -> Any:
        return self

    def due(self, step: int) -> bool:
        return step == 3


def _attached(model: torch.nn.Module) -> None:
    recipe = regrow.RandomOut(confirm="gradient", active_fraction=1.0).with_parts(when=Methods())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    regrow.attach(recipe, model, optimizer, example_inputs=torch.zeros(2, 1, 8, 8))


def _attached_as_a_whole(model: torch.nn.Module) -> None:
    recipe = regrow.ShrinkPerturb().with_parts(network_when=Methods())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    regrow.attach(recipe, model, optimizer, example_inputs=torch.zeros(2, 1, 8, 8))


def _partners(model: torch.nn.Module) -> None:
    models = [model, copy.deepcopy(model)]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in models]
    recipe = regrow.FilterGrafting(partners=2).with_parts(when=Methods())
    regrow.attach_partners(recipe, models, optimizers, example_inputs=torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("attach", [_attached, _attached_as_a_whole, _partners])
def test_a_schedule_of_earlier_versions_is_refused_before_training(
    attach: Callable[[torch.nn.Module], None],
) -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)
    )
    with pytest.raises(ConfigError, match=r"Methods.bind must give a .*BoundSchedule\(steps="):
        attach(model)


def test_steps_may_be_numpy_s_integers_where_a_network_is_reduced() -> None:
    bound = Cycles(s1=3, s2=2, cycles=1, unit="steps").bind(Clock(), where="test")
    assert [step for step in np.arange(8) if step in bound.reduced] == [3, 4]
