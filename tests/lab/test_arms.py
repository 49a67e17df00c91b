from __future__ import annotations

from collections.abc import Callable

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
