"""Which studies are sweeps, and over what."""

from __future__ import annotations

import pytest

from regrow.lab.arm_recipes import info
from regrow.study.asked import Asked, find_sweep
from regrow.study.records import ArmRecord


def study(grid: dict[str, list[object]], *arms: tuple[str, str, str | None]) -> Asked:
    """A study of arms (label, recipe, like); without any: none and randomout."""
    listed = arms or (("none", "none", None), ("randomout", "randomout", None))
    return Asked(
        name="x",
        seeds=(0, 1),
        grid=grid,
        document={},
        by_cell={"base": {label: _arm(label, recipe, like) for label, recipe, like in listed}},
    )


def _arm(label: str, recipe: str, like: str | None) -> ArmRecord:
    return ArmRecord(
        cell="base",
        label=label,
        recipe=recipe,
        role=info(recipe).role,
        identity=label,
        networks=1,
        epochs=1,
        held_out=0,
        replays=like,
        decides=None,
        neutral=False,
        neutral_control=None,
        apart_control=None,
        teachers=0,
        files=0,
        own_model=False,
        relative=1.0,
    )


TAU, P = "arms.randomout.settings.threshold", "randomout.active_fraction"


@pytest.mark.parametrize(
    "keys",
    [
        (TAU, P),
        ("randomout.threshold", "arms.randomout.active_fraction"),
        ("randomout.settings.threshold", "arms.randomout.settings.active_fraction"),
    ],
)
def test_every_form_of_a_key_is_understood(keys: tuple[str, str]) -> None:
    found = find_sweep(study({keys[0]: [1e-4, 1e-12, 1e-8], keys[1]: [0.5, 1]}))
    assert found is not None
    assert (found.arm, found.baseline, found.rest) == ("randomout", "none", ())
    assert (found.x.setting, found.x.values) == ("threshold", (1e-12, 1e-8, 1e-4))
    assert (found.y.setting, found.y.values) == ("active_fraction", (0.5, 1))
    assert found.first.setting == "threshold"
    assert (found.cells, found.large, found.panels) == (6, False, ((),))


def test_other_keys_make_panels_in_the_order_of_the_grid() -> None:
    grid: dict[str, list[object]] = {
        "data.region": ["East", "West"],
        TAU: [1e-4, 1e-8],
        "train.lr": [0.1, 0.3],
        P: [0.1, 0.5, 1.0],
        "randomout.norm": ["l1", "l2"],
    }
    found = find_sweep(study(grid))
    assert found is not None
    assert [key for key, _ in found.rest] == ["data.region", "train.lr", "randomout.norm"]
    assert found.panels[:2] == (
        (("data.region", "East"), ("train.lr", 0.1), ("randomout.norm", "l1")),
        (("data.region", "East"), ("train.lr", 0.1), ("randomout.norm", "l2")),
    )
    assert (len(found.panels), found.cells, found.large) == (8, 48, True)
    assert (found.x.setting, found.y.setting) == ("active_fraction", "threshold")


def test_of_three_settings_those_with_the_most_values_are_the_axes() -> None:
    grid: dict[str, list[object]] = {
        "randomout.grace_steps": [1, 2],
        TAU: [1e-4, 1e-6, 1e-8],
        P: [0.1, 0.2, 0.5, 1.0],
    }
    found = find_sweep(study(grid))
    assert found is not None
    assert {found.x.setting, found.y.setting} == {"threshold", "active_fraction"}
    assert found.rest == (("randomout.grace_steps", (1, 2)),)


@pytest.mark.parametrize(
    "grid",
    [
        {},
        {TAU: [1e-4, 1e-8]},
        {TAU: [1e-4, 1e-8], P: [0.5]},
        {TAU: [1e-4, 1e-8], "train.lr": [0.1, 0.3]},
        {TAU: [1e-4, 1e-8], "randomout.train.lr": [0.1, 0.3]},
        {TAU: [1e-4, 1e-8], "randomout.model.filters": [2, 4]},
        {TAU: [1e-4, 1e-8], "randomout.norm": ["l1", "l2"]},
        {TAU: [1e-4, 1e-8], "randomout.preserve": [True, False]},
        {TAU: [1e-4, 1e-8], "randomout2.active_fraction": [0.1, 0.5]},
        {"model.filters": [2, 4], "model.dense": [8, 16]},
    ],
)
def test_everything_else_is_no_sweep(grid: dict[str, list[object]]) -> None:
    assert find_sweep(study(grid)) is None


def test_a_sweep_needs_plain_training_beside_it() -> None:
    grid: dict[str, list[object]] = {TAU: [1e-4, 1e-8], P: [0.5, 1.0]}
    assert find_sweep(study(grid, ("randomout", "randomout", None))) is None
    assert find_sweep(study(grid, ("plain", "none", None), ("randomout", "randomout", None)))


def test_an_arm_called_as_a_part_of_the_study_is_meant_with_arms_alone() -> None:
    arms = (("none", "none", None), ("model", "randomout", None))
    inside: dict[str, list[object]] = {"model.threshold": [1, 2], "model.active_fraction": [0.5, 1]}
    assert find_sweep(study(inside, *arms)) is None
    assert find_sweep(study({f"arms.{key}": list(v) for key, v in inside.items()}, *arms))


def test_controls_are_found_and_not_swept() -> None:
    arms = (("random", "random", "randomout"), ("none", "none", None), ("randomout",) * 2 + (None,))
    found = find_sweep(study({TAU: [1e-4, 1e-8], P: [0.5, 1.0]}, *arms))
    assert found is not None
    assert (found.arm, found.controls) == ("randomout", ("random",))
