from __future__ import annotations

from collections.abc import Callable

import pytest

from regrow.errors import ConfigError
from regrow.lab.plan import plan
from regrow.study.document import Study

MakeStudy = Callable[..., Study]


def test_a_control_takes_over_the_settings_and_training_of_its_partner(study: MakeStudy) -> None:
    control = next(spec for spec in plan(study()).trials if spec.label == "control")
    assert control.like == "base/ro/seed3"
    assert control.settings["readers"] == "zero"
    assert control.train.lr == 0.2
    assert "threshold" not in control.settings


def test_what_a_control_says_itself_stays(study: MakeStudy) -> None:
    arms = {
        "ro": {"recipe": "randomout", "settings": {"readers": "zero"}},
        "control": {"recipe": "random", "settings": {"readers": "keep"}},
    }
    control = next(spec for spec in plan(study(arms=arms)).trials if spec.label == "control")
    assert control.settings["readers"] == "keep"


def test_restart_checks_every_tenth_of_the_epochs_unless_told(study: MakeStudy) -> None:
    arms = {"a": {"recipe": "restart"}, "b": {"recipe": "restart", "train": {"epochs": 4}}}
    found = {spec.label: spec.settings for spec in plan(study(arms=arms, seeds=1)).trials}
    assert found["a"] == {"check_epochs": 2, "max_restarts": None}
    assert found["b"] == {"check_epochs": 1, "max_restarts": None}


UNITS = {
    "none": {"recipe": "none"},
    "few": {"recipe": "redo", "settings": {"every_steps": 7}, "train": {"lr": 0.3}},
}


def test_controls_are_made_of_the_recipe_that_they_are_like(study: MakeStudy) -> None:
    arms = UNITS | {name: {"recipe": name} for name in ("random", "inverted", "never")}
    asked = plan(study(arms=arms, seeds=[3]))
    found = {spec.label: spec for spec in asked.trials}
    full = {"of": "redo", **found["few"].settings}
    for name in ("random", "inverted", "never"):
        assert found[name].settings == full
        assert found[name].train.lr == 0.3
    assert found["random"].like == "base/few/seed3"  # it waits for the events
    assert found["inverted"].like is None
    assert found["never"].like is None
    roles = {arm.label: (arm.role, arm.replays) for arm in asked.arms}
    assert roles["random"] == ("control", "few")
    assert roles["inverted"] == ("inverted", "few")
    assert roles["never"] == ("never", "few")


def test_what_such_a_control_says_itself_stays(study: MakeStudy) -> None:
    arms = UNITS | {"i": {"recipe": "inverted", "like": "few", "settings": {"threshold": 0.5}}}
    found = {spec.label: spec.settings for spec in plan(study(arms=arms, seeds=1)).trials}
    assert found["i"] == {"of": "redo", **found["few"], "threshold": 0.5}


def test_a_stored_study_is_completed_to_itself(study: MakeStudy) -> None:
    arms = UNITS | {name: {"recipe": name} for name in ("random", "inverted", "never")}
    once = plan(study(arms=arms, seeds=1)).cells[0].study
    assert plan(once).cells[0].study == once


def test_a_random_control_with_settings_of_its_own_is_made_of_those(study: MakeStudy) -> None:
    few = {"recipe": "redo", "settings": {"readers": "redraw"}}
    arms = {"few": few, "random": {"recipe": "random", "settings": {"dense": True}}}
    found = {spec.label: spec.settings for spec in plan(study(arms=arms, seeds=1)).trials}
    assert "of" not in found["random"]
    assert found["random"]["dense"]
    assert found["random"]["readers"] == "redraw"  # said of the arm, by the same name


def test_which_of_several_arms_must_be_said_of_every_control(study: MakeStudy) -> None:
    arms = UNITS | {"more": {"recipe": "regrama"}, "i": {"recipe": "inverted"}}
    with pytest.raises(
        ConfigError, match=r"arms\.i\.like: must say whose control it is, one of few, more"
    ):
        _ = plan(study(arms=arms)).cells
