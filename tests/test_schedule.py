"""Schedules: which steps, and what happens without an end."""

import pytest

from regrow.errors import ConfigError, NoEffectWarning
from regrow.schedule import AtSteps, Clock, Every


def _due(schedule: Every, steps: int, **clock: int) -> list[int]:
    bound = schedule.bind(Clock(**clock), where="test")
    return [step for step in range(steps) if bound.due(step)]


def test_every_step_by_default() -> None:
    assert _due(Every(), 5) == [0, 1, 2, 3, 4]


def test_intervals_and_the_active_part() -> None:
    assert _due(Every(steps=3), 10) == [2, 5, 8]
    assert _due(Every(active_fraction=0.6), 10, total_steps=10) == [0, 1, 2, 3, 4, 5]
    assert _due(Every(epochs=2, active_fraction=0.5), 20, total_steps=20, steps_per_epoch=4) == [7]
    assert _due(Every(), 10, total_steps=6) == [0, 1, 2, 3, 4, 5]


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
        ({"steps": 0}, "every_steps must be at least 1, got 0"),
        ({"steps": 2.5}, "every_steps must be a whole number, got 2.5"),
        ({"epochs": -1}, "every_epochs must be at least 1, got -1"),
        ({"active_fraction": 1.2}, r"active_fraction must be within \[0, 1\], got 1.2"),
        ({"active_fraction": float("nan")}, r"within \[0, 1\], got nan"),
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
    with pytest.raises(ConfigError, match=r"every_epochs=1 needs attach\(steps_per_epoch=\.\.\.\)"):
        Every(epochs=1).bind(Clock(total_steps=5), where="test")
    with pytest.raises(ConfigError, match="total_steps must be at least 1, got 0"):
        Clock(total_steps=0)


def test_at_steps() -> None:
    schedule = AtSteps.of([4, 4, 9])
    assert [step for step in range(12) if schedule.due(step)] == [4, 9]
    assert schedule.last_step == 9
    assert AtSteps.of([]).last_step == -1
