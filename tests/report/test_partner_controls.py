"""Plain averaging and networks trained apart: found where they differ in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regrow.study.records import ArmRecord
from report.stored import apart, neutral, related

GRAFTING = {
    "partners": 2,
    "criterion": "entropy",
    "amplitude": 0.4,
    "sharpness": 500.0,
    "unit": "layer",
}
ARMS: dict[str, dict[str, Any]] = {
    "none": {"recipe": "none"},
    "graft": {"recipe": "grafting", "settings": GRAFTING},
    "half": {"recipe": "grafting", "settings": GRAFTING | {"amplitude": 0.0}},
    "apart": {"recipe": "independent", "settings": {"partners": 2}},
}


def changed(label: str, **changes: Any) -> dict[str, ArmRecord]:
    arms = {name: dict(arm) for name, arm in ARMS.items()}
    for key, value in changes.items():
        before = arms[label].get(key, {})
        arms[label][key] = {**before, **value} if isinstance(value, dict) else value
    return related(arms)["base"]


def test_controls_are_arms_that_differ_in_nothing_else() -> None:
    found = related(ARMS)["base"]
    assert [label for label, arm in found.items() if arm.neutral] == ["half"]
    assert neutral(found) == {"graft": "half"}
    assert apart(found) == {"graft": "apart", "half": "apart"}


@pytest.mark.parametrize(
    "settings",
    [
        {"sharpness": 5.0},
        {"criterion": "l1"},
        {"unit": "filter"},
        {"amplitude": 1.0},
        {"decimals": 2},
    ],
)
def test_what_a_share_is_reckoned_from_makes_no_difference_to_a_half(
    settings: dict[str, Any],
) -> None:
    assert neutral(changed("graft", settings=settings)) == {"graft": "half"}
    assert neutral(changed("half", settings={**settings, "amplitude": 0.4})) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"partners": 3}},
        {"settings": {"memory": "reset"}},
        {"train": {"lr": 0.2}},
        {"teachers": ["none"]},
        {"model": {"width": 3}},
    ],
)
def test_another_training_is_no_control(change: dict[str, Any]) -> None:
    found = changed("graft", **change)
    assert neutral(found) == {}
    assert apart(found) == {"half": "apart"} | (
        {"graft": "apart"} if "memory" in str(change) else {}
    )


@pytest.mark.parametrize("settings", [{"unit": "filter"}, {"decimals": 0}])
def test_an_amplitude_of_0_is_no_averaging_where_it_gives_no_half(settings: dict[str, Any]) -> None:
    assert not any(arm.neutral for arm in changed("half", settings=settings).values())


def test_a_grid_makes_controls_in_one_cell_and_not_in_another() -> None:
    cells = related(ARMS, {"half.amplitude": [0.0, 0.4], "graft.partners": [2, 3]})
    assert neutral(cells["half.amplitude=0.0,graft.partners=2"]) == {"graft": "half"}
    assert neutral(cells["half.amplitude=0.4,graft.partners=2"]) == {}
    assert neutral(cells["half.amplitude=0.0,graft.partners=3"]) == {}
    assert apart(cells["half.amplitude=0.0,graft.partners=3"]) == {"half": "apart"}
    assert cells["half.amplitude=0.0,graft.partners=3"]["graft"].relative == 3.0


def test_a_control_that_replays_is_not_guessed_from_networks_that_graft() -> None:
    arms = {**ARMS, "repr": {"recipe": "repr"}, "random": {"recipe": "random"}}
    assert related(arms)["base"]["random"].replays == "repr"


def test_teachers_are_paid_once_with_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("big.pt").write_bytes(b"weights")
    arms: dict[str, dict[str, Any]] = {
        "none": {"recipe": "none"},
        "apart": {"recipe": "independent", "settings": {"partners": 3}},
        "middle": {"recipe": "none", "teachers": ["apart"]},
        "last": {
            "recipe": "none",
            "teachers": ["middle", "apart", "big.pt"],
            "train": {"epochs": 5},
        },
        "wide": {"recipe": "none", "model": {"width": 8}, "teachers": ["last"]},
    }
    found = related(arms)["base"]
    assert (found["middle"].teachers, found["middle"].relative) == (30, 4.0)
    assert (found["last"].teachers, found["last"].files) == (40, 1)
    assert found["last"].relative == 4.5
    assert (found["wide"].teachers, found["wide"].files, found["wide"].own_model) == (45, 1, True)
    assert not found["none"].own_model
