"""Plain averaging and networks trained apart: found where they differ in nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from regrow.report.cost import costs
from regrow.report.partner_controls import apart_controls, averaging_arms, averaging_controls
from regrow.report.results import Arm, Study

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


def study_of(
    arms: Mapping[str, Mapping[str, Any]], grid: Mapping[str, list[object]] | None = None
) -> Study:
    return Study(
        name="s",
        arms=tuple(
            Arm(label=label, **{"settings": {}, "train": {}, "like": None, **arm})
            for label, arm in arms.items()
        ),
        seeds=(0,),
        grid=grid or {},
        document={"train": {"lr": 0.1, "epochs": 10}},
    )


def changed(label: str, **changes: Any) -> Study:
    arms = {name: dict(arm) for name, arm in ARMS.items()}
    for key, value in changes.items():
        before = arms[label].get(key, {})
        arms[label][key] = {**before, **value} if isinstance(value, dict) else value
    return study_of(arms)


def test_controls_are_arms_that_differ_in_nothing_else() -> None:
    study = study_of(ARMS)
    assert averaging_arms(study, "base") == ("half",)
    assert averaging_controls(study, "base") == {"graft": "half"}
    assert apart_controls(study, "base") == {"graft": "apart", "half": "apart"}


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
    assert averaging_controls(changed("graft", settings=settings), "base") == {"graft": "half"}
    assert (
        averaging_controls(changed("half", settings={**settings, "amplitude": 0.4}), "base") == {}
    )


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"partners": 3}},
        {"settings": {"memory": "reset"}},
        {"train": {"lr": 0.2}},
        {"teachers": ("none",)},
        {"model": {"width": 3}},
    ],
)
def test_another_training_is_no_control(change: dict[str, Any]) -> None:
    study = changed("graft", **change)
    assert averaging_controls(study, "base") == {}
    apart = {"half": "apart"} | ({"graft": "apart"} if "memory" in str(change) else {})
    assert apart_controls(study, "base") == apart


@pytest.mark.parametrize("settings", [{"unit": "filter"}, {"decimals": 0}])
def test_an_amplitude_of_0_is_no_averaging_where_it_gives_no_half(settings: dict[str, Any]) -> None:
    assert averaging_arms(changed("half", settings=settings), "base") == ()


def test_a_grid_makes_controls_in_one_cell_and_not_in_another() -> None:
    study = study_of(ARMS, {"half.amplitude": [0.0, 0.4], "graft.partners": [2, 3]})
    assert averaging_controls(study, "half.amplitude=0.0,graft.partners=2") == {"graft": "half"}
    assert averaging_controls(study, "half.amplitude=0.4,graft.partners=2") == {}
    assert averaging_controls(study, "half.amplitude=0.0,graft.partners=3") == {}
    assert apart_controls(study, "half.amplitude=0.0,graft.partners=3") == {"half": "apart"}
    assert costs(study, "half.amplitude=0.0,graft.partners=3")["graft"].relative == 3.0


def test_a_control_that_replays_is_not_guessed_from_networks_that_graft() -> None:
    arms = {**ARMS, "repr": {"recipe": "repr"}, "random": {"recipe": "random"}}
    assert study_of(arms).controls == {"random": "repr"}


def test_teachers_are_paid_once_with_theirs() -> None:
    arms = {
        "none": {"recipe": "none"},
        "apart": {"recipe": "independent", "settings": {"partners": 3}},
        "middle": {"recipe": "none", "teachers": ("apart",)},
        "last": {
            "recipe": "none",
            "teachers": ("middle", "apart", "big.pt"),
            "train": {"epochs": 5},
        },
        "wide": {"recipe": "none", "model": {"width": 8}, "teachers": ("last",)},
    }
    found = costs(study_of(arms), "base")
    assert (found["middle"].total, found["middle"].relative) == (10 + 30, 4.0)
    assert (found["last"].total, found["last"].teachers, found["last"].files) == (45, 40, 1)
    assert (found["wide"].teachers, found["wide"].files, found["wide"].own_model) == (45, 1, True)
    assert not found["none"].own_model


def test_a_study_that_does_not_say_how_long_it_trains_has_no_costs() -> None:
    study = Study(name="s", arms=study_of(ARMS).arms, seeds=(0,), grid={}, document={})
    assert costs(study, "base") == {}
