"""Guards and gain checks in stacks: the same decisions as in plain modules, each network's its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from crossed import seldom
from regrow.history import Renewed, Report
from regrow.lab import data as lab_data
from regrow.lab.data import Dataset
from regrow.lab.engines.choice import engine_named
from regrow.lab.engines.stack import StackEngine
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.lab.run import Run
from regrow.study.document import EngineName, Study
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]

EPOCHS = 2

# Rates at which the guard has something to do in some steps, and in some not.
ARMS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "step limit": ("guarded", {}, {"lr": 0.5}),
    "step limit, momentum": ("guarded", {}, {"lr": 0.2, "momentum": 0.9}),
    "step limit, adam": ("guarded", {}, {"optimizer": "adam", "lr": 0.05}),
    "norm clip": ("guarded", {"guard_by": "norm_clip"}, {"lr": 0.1}),
    "adaptive clip": ("guarded", {"guard_by": "adaptive_clip", "amount": 0.1}, {"lr": 0.1}),
    "weight clip": ("guarded", {"guard_by": "weight_clip", "amount": 1.0}, {"lr": 0.2}),
    "keepalive": ("keepalive", {}, {"lr": 0.5}),
    "keepalive, adamw": ("keepalive", {}, {"optimizer": "adamw", "lr": 0.05}),
}


def specs_of(
    study: MakeStudy, recipe: str, settings: dict[str, Any], train: dict[str, Any], *beside: str
) -> list[TrialSpec]:
    """One a seed; `beside`: the arms that it needs in its study."""
    told = tuple(f"{recipe}.{key}={value}" for key, value in settings.items())
    found = plan(study(*beside, recipe, settings=told, epochs=train.get("epochs", EPOCHS))).trials
    return [
        dataclasses.replace(spec, train=spec.train.model_copy(update=train))
        for spec in found
        if spec.recipe == recipe
    ]


def load(spec: TrialSpec) -> Dataset:
    return lab_data.load(spec.data.name, settings=spec.data.settings)


def begun(
    specs: Sequence[TrialSpec],
    engine: EngineName,
    *,
    spoil: Callable[[int, Run], None] = lambda at, run: None,
    like: Sequence[Renewed] | None = None,
) -> list[Run]:
    """Runs that wait for their first epoch; `spoil` may do something to them before."""
    data = load(specs[0])
    runs = [Run([spec], data, like=like, hooks=engine == "modules") for spec in specs]
    for at, run in enumerate(runs):
        spoil(at, run)
    return runs


def train(runs: Sequence[Run], engine: EngineName) -> list[list[tuple[float, float]]]:
    """Side by side: by network the loss and accuracy of each epoch."""
    numerics = engine_named(engine)
    members = [run.members[0] for run in runs]
    epochs = members[0].training.epochs
    found = [
        numerics.train_epoch(members, [epoch] * len(members)) for epoch in range(1, epochs + 1)
    ]
    return [list(each) for each in zip(*found, strict=True)]


def report_of(run: Run) -> Report:
    regrower = run.members[0].regrower
    assert regrower is not None
    return regrower.report


def done(report: Report) -> dict[str, Any]:
    """What a recipe has decided."""
    return {
        "guarded": dict(report.guarded),
        "refused": report.refused,
        "steps": report.steps,
        "notes": report.notes,
        "renewed": [(event.step, event.layer, event.filters) for event in report.events],
        "gains": sorted(report.gains),
    }


def faint(at: int, run: Run) -> None:
    """A network through which next to nothing passes, with a filter and a hidden unit that are dead."""
    model = run.members[0].model
    with torch.no_grad():
        model.get_parameter("conv2.weight").mul_(1e-3 * (at + 1))
        model.get_parameter("conv1.bias")[1] = -100.0
        model.get_parameter("dense.bias")[2] = -100.0


def compare(
    specs: Sequence[TrialSpec],
    *,
    spoil: Callable[[int, Run], None] = lambda at, run: None,
    like: Sequence[Renewed] | None = None,
) -> list[Report]:
    """Train in both engines, and look whether they agree; the reports of the stack."""
    both: dict[EngineName, list[Run]] = {}
    losses: dict[EngineName, list[list[tuple[float, float]]]] = {}
    for engine in ("modules", "stack"):
        both[engine] = begun(specs, engine, spoil=spoil, like=like)
        losses[engine] = train(both[engine], engine)
    for mine, theirs in zip(both["stack"], both["modules"], strict=True):
        assert done(report_of(mine)) == done(report_of(theirs))
        assert report_of(mine).gains == pytest.approx(report_of(theirs).gains)
        for one, other in zip(
            mine.members[0].model.parameters(), theirs.members[0].model.parameters(), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)
    for mine, theirs in zip(losses["stack"], losses["modules"], strict=True):
        assert [loss for loss, _ in mine] == pytest.approx([loss for loss, _ in theirs], rel=1e-2)
    return [report_of(run) for run in both["stack"]]


QUICK = ("step limit, adam", "norm clip", "adaptive clip", "weight clip", "keepalive")


@pytest.mark.parametrize("name", seldom(ARMS, often=QUICK))
def test_the_engines_guard_the_same_steps(tiny_study: MakeStudy, name: str) -> None:
    recipe, settings, train = ARMS[name]
    reports = compare(specs_of(tiny_study, recipe, settings, train))
    for report in reports:
        assert sum(report.guarded.values()) > 0


@pytest.mark.parametrize("draw", seldom(["he", "centred"], often=["centred"]))
def test_the_engines_mend_the_same_gains_and_renew_the_same_units(
    tiny_study: MakeStudy, draw: str
) -> None:
    """Drawn by what was heard, too, in a stack in which no module is called."""
    specs = specs_of(tiny_study, "keepalive", {"draw": draw}, {"lr": 0.05, "epochs": 5})
    reports = compare(specs, spoil=faint)
    for report in reports:
        assert not any("heard" in note for note in report.notes)
        assert list(report.gains) == ["conv2"]
        layers = {event.layer for event in report.events}
        assert {"conv1", "dense"} <= layers
        assert "head" not in layers
    assert reports[0].gains["conv2"] == pytest.approx(2 * reports[1].gains["conv2"], rel=0.5)
    control = specs_of(
        tiny_study,
        "random",
        {"step_limit": 0.1, "check_gain": "true", "dense": "true", "init": "kaiming_normal"},
        {"lr": 0.05, "epochs": 5},
        "keepalive",
    )[:1]
    (told,) = compare(control, spoil=faint, like=reports[0].events)
    assert [(event.step, event.layer, len(event.filters)) for event in told.events] == [
        (event.step, event.layer, len(event.filters)) for event in reports[0].events
    ]
    assert list(told.gains) == ["conv2"]


@pytest.mark.parametrize("optimizer", seldom(["sgd", "adam"], often=["adam"]))
def test_one_network_whose_step_is_refused_leaves_the_others_their_bits(
    tiny_study: MakeStudy, optimizer: str
) -> None:
    specs = (
        specs_of(tiny_study, "keepalive", {}, {"optimizer": optimizer, "lr": 0.01, "epochs": 1})[:1]
        * 3
    )

    def poisoned(at: int, run: Run) -> None:
        if at == 1:
            with torch.no_grad():
                run.members[0].model.get_parameter("head.weight").mul_(1e25)

    def plain(at: int, run: Run) -> None:
        del at, run

    states: list[list[dict[str, Tensor]]] = []
    for spoil in (plain, poisoned):
        runs = begun(specs, "stack", spoil=spoil)
        before = [copy_of(run) for run in runs]
        train(runs, "stack")
        states.append([copy_of(run) for run in runs])
    assert equal(states[0][0], states[1][0])
    assert equal(states[0][2], states[1][2])
    told = report_of(runs[1])
    assert (told.refused, told.steps) == (runs[1].per_epoch, 0)
    assert equal(before[1], states[1][1])
    # Modules refuse the same.
    (other,) = begun(specs[:1], "modules", spoil=lambda _, run: poisoned(1, run))
    train([other], "modules")
    assert done(report_of(other)) == done(told)


def copy_of(run: Run) -> dict[str, Tensor]:
    """All that one network is."""
    return {key: value.clone() for key, value in run.members[0].model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", seldom(["step limit, adam", "keepalive"], often=["keepalive"]))
def test_neighbours_change_no_bit_of_a_guarded_network(tiny_study: MakeStudy, name: str) -> None:
    recipe, settings, options = ARMS[name]
    specs = specs_of(tiny_study, recipe, settings, options)
    together = begun(specs, "stack")
    train(together, "stack")
    for at, spec in enumerate(specs):
        (alone,) = begun([spec], "stack")
        train([alone], "stack")
        assert equal(copy_of(alone), copy_of(together[at]))
        assert done(report_of(alone)) == done(report_of(together[at]))


def test_one_call_for_all_guards_alike(tiny_study: MakeStudy) -> None:
    """As on a GPU: there all networks of a stack are stepped at once."""
    recipe, settings, options = ARMS["keepalive, adamw"]
    specs = specs_of(tiny_study, recipe, settings, options)
    found: list[list[Run]] = []
    for batched in (False, True):
        runs = begun(specs, "stack", spoil=faint)
        numerics = StackEngine(batched=batched)
        for epoch in range(1, EPOCHS + 1):
            numerics.train_epoch([run.members[0] for run in runs], [epoch] * len(runs))
        found.append(runs)
    for one, other in zip(*found, strict=True):
        assert done(report_of(one)) == done(report_of(other))
        assert report_of(one).guarded


def test_guarded_recipes_run_in_stacks(tiny_study: MakeStudy) -> None:
    for recipe in ("guarded", "keepalive"):
        found = preflight(plan(tiny_study("none", recipe, "random", seeds=1)).trials)
        assert found.refusal == ""
