"""Settings from a mapping."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field

from regrow.errors import ConfigError, UnknownNameError
from regrow.lab.settings import Settings, read_settings, settings_of


class Oven(Settings):
    heat: float = 180.0
    minutes: int = Field(default=20, ge=1)
    fan: bool = False
    dish: Literal["flan", "bread"] = "flan"
    name: str = "mine"
    shelf: int | None = Field(default=None, le=4)


def test_fills_in_what_is_given_and_keeps_the_defaults() -> None:
    found = read_settings(Oven, {"minutes": 30, "shelf": 2}, where="oven")
    assert dict(found) == {**settings_of(Oven), "minutes": 30, "shelf": 2}
    assert dict(read_settings(Oven, {}, where="oven")) == settings_of(Oven)


def test_a_whole_number_serves_as_a_number() -> None:
    heat = read_settings(Oven, {"heat": 200}, where="oven").heat
    assert heat == 200.0
    assert isinstance(heat, float)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minutes": "20"}, "oven: minutes: must be a whole number, got '20'"),
        ({"minutes": 20.0}, "oven: minutes: must be a whole number, got 20.0"),
        ({"minutes": True}, "oven: minutes: must be a whole number, got True"),
        ({"minutes": None}, "oven: minutes: must be a whole number, got None"),
        ({"heat": "hot"}, "oven: heat: must be a number, got 'hot'"),
        ({"heat": True}, "oven: heat: must be a number, got True"),
        ({"heat": float("inf")}, "oven: heat: must be a finite number, got inf"),
        ({"fan": 1}, "oven: fan: must be true or false, got 1"),
        ({"name": 3}, "oven: name: must be a text, got 3"),
        ({"shelf": "top"}, "oven: shelf: must be a whole number, got 'top'"),
        ({"shelf": 5}, "oven: shelf: must be at most 4, got 5"),
        ({"minutes": 0}, "oven: minutes: must be at least 1, got 0"),
        ({"dish": "soup"}, "oven: dish: must be one of 'flan' or 'bread', got 'soup'"),
        (
            {"minutes": 0, "fan": 1},
            "oven: minutes: must be at least 1, got 0; fan: must be true or false, got 1",
        ),
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
