from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from regrow.errors import ConfigError
from regrow.lab.study import Study, check_document
from regrow.lab.trials import (
    cells,
    differences,
    document,
    fingerprint,
    fingerprint_document,
    trials,
)


def study(**changes: Any) -> Study:
    base: dict[str, Any] = {
        "name": "s",
        "data": {"name": "digits"},
        "train": {"epochs": 20},
        "arms": {
            "control": {"recipe": "random"},
            "none": {"recipe": "none"},
            "ro": {"recipe": "randomout", "settings": {"readers": "zero"}, "train": {"lr": 0.2}},
        },
        "seeds": [3, 5],
    }
    return check_document({**base, **changes}, where="test")


def fingerprint_of(chosen: Study) -> str:
    digests = {cell.name: "d" for cell in cells(chosen, where="test")}
    return fingerprint(fingerprint_document(chosen, data_digests=digests))


def test_seeds_come_first_and_a_control_after_its_partner():
    assert [spec.trial for spec in trials(study())] == [
        "base/none/seed3",
        "base/ro/seed3",
        "base/control/seed3",
        "base/none/seed5",
        "base/ro/seed5",
        "base/control/seed5",
    ]


def test_a_control_takes_over_the_settings_and_training_of_its_partner():
    control = next(spec for spec in trials(study()) if spec.label == "control")
    assert control.like == "base/ro/seed3"
    assert control.settings["readers"] == "zero"
    assert control.train.lr == 0.2
    assert "threshold" not in control.settings


def test_what_a_control_says_itself_stays():
    arms = {
        "ro": {"recipe": "randomout", "settings": {"readers": "zero"}},
        "control": {"recipe": "random", "settings": {"readers": "keep"}},
    }
    control = next(spec for spec in trials(study(arms=arms)) if spec.label == "control")
    assert control.settings["readers"] == "keep"


def test_defaults_are_written_out():
    stored = document(study())
    assert stored["arms"]["ro"]["settings"]["norm"] == "l1"
    assert stored["model"]["settings"]["filters"] == 20
    assert stored["data"]["settings"]["scale"] == "standard"
    assert stored["seeds"] == [3, 5]


def test_restart_checks_every_tenth_of_the_epochs_unless_told():
    arms = {"a": {"recipe": "restart"}, "b": {"recipe": "restart", "train": {"epochs": 4}}}
    found = {spec.label: spec.settings for spec in trials(study(arms=arms, seeds=1))}
    assert found["a"] == {"check_epochs": 2, "max_restarts": None}
    assert found["b"] == {"check_epochs": 1, "max_restarts": None}


def test_the_grid_multiplies_out_with_the_last_key_fastest():
    grid = {"train.lr": [0.05, 1], "model.dense": [16, 32]}
    found = cells(study(grid=grid), where="test")
    assert [cell.name for cell in found] == [
        "train.lr=0.05,model.dense=16",
        "train.lr=0.05,model.dense=32",
        "train.lr=1,model.dense=16",
        "train.lr=1,model.dense=32",
    ]
    assert (found[3].study.train.lr, found[3].study.model.settings["dense"]) == (1.0, 32)
    assert len(trials(study(grid=grid))) == 4 * 2 * 3
    assert document(study(grid=grid))["grid"] == grid


def test_a_grid_over_an_arm_reaches_its_control():
    found = cells(study(grid={"arms.ro.readers": ["keep", "redraw"]}), where="test")
    assert [cell.study.arms["control"].settings["readers"] for cell in found] == ["keep", "redraw"]


def test_the_fingerprint_sees_what_determines_results_and_nothing_else():
    base = fingerprint_of(study())
    assert base == fingerprint_of(study(name="other", seeds=[9]))
    assert base == fingerprint_of(study(arms=dict(reversed(study().model_dump()["arms"].items()))))
    assert base != fingerprint_of(study(train={"epochs": 21}))
    assert base != fingerprint_of(study(model={"name": "cratercnn", "settings": {"dense": 3}}))
    one, two = ({"base": digest} for digest in "ab")
    assert fingerprint_document(study(), data_digests=one) != fingerprint_document(
        study(), data_digests=two
    )


def test_writing_a_default_out_changes_no_fingerprint():
    spelled = study(model={"name": "cratercnn", "settings": {"filters": 20}})
    assert fingerprint_of(spelled) == fingerprint_of(study())


def test_differences_name_keys_on_either_side():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": "x"}) == [
        "a.c: 2 there, nothing here",
        "d: nothing there, 'x' here",
    ]


def test_a_grid_value_that_cannot_be_named_is_refused():
    with pytest.raises(ConfigError, match=r'grid\."train\.lr": must list texts, numbers'):
        cells(study(grid={"train.lr": [[1]]}), where="test")


def test_specs_carry_all_that_a_worker_needs(tiny_study: Callable[..., Study]):
    import pickle

    specs = trials(tiny_study("none", "randomout", "random"))
    assert pickle.loads(pickle.dumps(specs)) == specs
