"""Settings from a mapping."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from regrow.errors import ConfigError, UnknownNameError
from regrow.lab.settings import check_at_least, check_choice, read_settings, settings_of


@dataclass(frozen=True, kw_only=True)
class Oven:
    heat: float = 180.0
    minutes: int = 20
    fan: bool = False
    dish: str = "flan"
    shelf: int | None = None

    def __post_init__(self) -> None:
        check_at_least(self.minutes, 1, name="minutes")
        check_choice(self.dish, ("flan", "bread"), name="dish")


def test_fills_in_what_is_given_and_keeps_the_defaults() -> None:
    assert read_settings(Oven, {"minutes": 30, "shelf": 2}, where="oven") == Oven(
        minutes=30, shelf=2
    )
    assert read_settings(Oven, {}, where="oven") == Oven()


def test_a_whole_number_serves_as_a_number() -> None:
    heat = read_settings(Oven, {"heat": 200}, where="oven").heat
    assert heat == 200.0
    assert isinstance(heat, float)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minutes": "20"}, "minutes must be a whole number, got '20' (oven)"),
        ({"minutes": 20.0}, "minutes must be a whole number, got 20.0 (oven)"),
        ({"minutes": True}, "minutes must be a whole number, got True (oven)"),
        ({"minutes": None}, "minutes must be a whole number, got None (oven)"),
        ({"heat": "hot"}, "heat must be a number, got 'hot' (oven)"),
        ({"heat": True}, "heat must be a number, got True (oven)"),
        ({"fan": 1}, "fan must be true or false, got 1 (oven)"),
        ({"dish": 3}, "dish must be a text, got 3 (oven)"),
        ({"shelf": "top"}, "shelf must be a whole number, got 'top' (oven)"),
        ({"minutes": 0}, "minutes must be at least 1, got 0 (oven)"),
        ({"dish": "soup"}, "dish must be one of 'flan', 'bread', got 'soup' (oven)"),
    ],
)
def test_wrong_values_are_told_in_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(Oven, settings, where="oven")
    assert str(caught.value) == message


def test_an_unknown_key_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownNameError, match=r"oven: unknown setting 'minute' \(did you mean 'minutes'\?\)"
    ):
        read_settings(Oven, {"minute": 5}, where="oven")


def test_settings_of_lists_defaults_in_order() -> None:
    assert list(settings_of(Oven).items())[:2] == [("heat", 180.0), ("minutes", 20)]
