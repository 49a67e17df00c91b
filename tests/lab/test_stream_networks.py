"""The networks of streams of tasks: both engines train them alike, whatever recipe acts on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crossed import crossed
from lab.alone import run_trial
from lab.sharing.running import small_study
from lab.test_trial import dataset_of
from regrow.history import Renewed
from regrow.lab.assembly import build_model
from regrow.lab.engines.choice import refusal
from regrow.lab.plan import plan
from regrow.study.document import EngineName, Study
from regrow.study.records import TrialResult
from regrow.study.trials import TrialSpec

NETWORKS: Mapping[str, dict[str, Any]] = {
    "norm": {"name": "mlp", "settings": {"width": 12, "norm": "layer"}},
    "leaky": {"name": "mlp", "settings": {"width": 12, "activation": "leaky_relu"}},
    "both": {
        "name": "mlp",
        "settings": {"width": 12, "norm": "layer", "activation": "leaky_relu"},
    },
    "cnn": {"name": "stridednet", "settings": {"width": 4, "dense": 10}},
    "leaky cnn": {
        "name": "stridednet",
        "settings": {"width": 4, "dense": 10, "activation": "leaky_relu"},
    },
}
LOUD = {"threshold": 0.3, "active_fraction": 1.0}  # so large that it acts behind a leaky ReLU, too
ARMS: Mapping[str, Mapping[str, Any]] = {
    "redo": {"recipe": "redo", "settings": {"every_steps": 4, "threshold": 0.5}},
    "fresh": {"recipe": "restart-each-task"},
    "randomout": {"recipe": "randomout", "settings": {"confirm": "gradient", **LOUD}},
    "silence": {"recipe": "randomout", "settings": {**LOUD, "look_every": 3}},
    "cbp": {"recipe": "continual-backprop", "settings": {"rate": 0.03, "maturity": 4}},
    "none": {"recipe": "none"},
    "random": {"recipe": "random", "like": "redo"},
}
TRAINS: Mapping[str, dict[str, Any]] = {
    "adam": {"batch_size": 16, "optimizer": "adam", "lr": 0.01},
    "sgd": {"batch_size": 16, "optimizer": "sgd", "lr": 0.1, "momentum": 0.5},
}


def a_study(digits: Path, *, network: str, train: str) -> Study:
    stream = {"kind": "random-labels", "tasks": 3, "epochs": 4, "images": 48}
    parts = {"model": NETWORKS[network], "train": TRAINS[train], "stream": stream}
    return small_study(digits, ARMS, **parts)


def spec_of(study: Study, label: str) -> TrialSpec:
    return next(spec for spec in plan(study).trials if spec.label == label)


def renewed(result: TrialResult) -> list[tuple[int, str, int]]:
    return [(each.step, each.layer, each.filter) for each in result.renewals]


def trained(study: Study, label: str, engine: EngineName) -> TrialResult:
    spec = spec_of(study, label)
    data = dataset_of(study)
    like = None
    if label == "random":
        like = [
            Renewed(step=each.step, layer=each.layer, filters=(each.filter,), scores=(0.0,))
            for each in run_trial(spec_of(study, "redo"), data, engine="modules").renewals
        ]
    return run_trial(spec, data, engine=engine, like=like)


@pytest.mark.parametrize(("label", "network", "train"), crossed(ARMS, NETWORKS, TRAINS))
def test_the_engines_decide_alike_and_train_alike(
    digits_npz: Path, label: str, network: str, train: str
) -> None:
    study = a_study(digits_npz, network=network, train=train)
    spec = spec_of(study, label)
    assert refusal(spec, build_model(spec, dataset_of(study), seed=0)) == ""
    modules, stack = (trained(study, label, engine) for engine in ("modules", "stack"))
    assert modules.status == stack.status == "finished"
    assert renewed(modules) == renewed(stack)
    # Behind a leaky ReLU or a layer norm nobody is silent: there the other arms act, and this one waits.
    quiet = label in {"none", "fresh"} or (label == "silence" and network != "cnn")
    assert bool(modules.renewals) or quiet
    for here, there in zip(modules.tasks, stack.tasks, strict=True):
        assert there.online_loss == pytest.approx(here.online_loss, rel=1e-3)
        assert there.online_accuracy == pytest.approx(here.online_accuracy, abs=0.03)
        assert there.loss == pytest.approx(here.loss, rel=1e-2)
    assert modules.tasks[-1].online_loss != modules.tasks[0].online_loss


@pytest.mark.parametrize("network", ["cnn", "leaky cnn"])
def test_every_recipe_acts_on_all_hidden_units_of_a_strided_network(
    digits_npz: Path, network: str
) -> None:
    """RandomOut acts on convolutions alone elsewhere; in a stream its dense units would be its rivals' advantage."""
    study = a_study(digits_npz, network=network, train="adam")
    found = run_trial(spec_of(study, "randomout"), dataset_of(study), engine="stack")
    assert {each.layer: each.filters for each in found.layers} == {
        "features.conv1": 4,
        "features.conv2": 8,
        "dense": 10,
    }
