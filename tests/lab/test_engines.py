"""Both engines train alike, and which one a study runs in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossed import seldom
from lab.alone import run_trial
from regrow.engine import Stack
from regrow.errors import ConfigError, StoreError
from regrow.lab import data as lab_data
from regrow.lab.assembly import build_model
from regrow.lab.data import Dataset
from regrow.lab.engines.choice import check_device, choose, refusal
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.study.document import EngineName, Study
from regrow.study.records import TrialResult
from regrow.study.store import Store, engine_of
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]

LR = {"lr": 0.01}


def spec_of(
    study: Study, label: str = "none", *, model: dict[str, Any] | None = None, **train: Any
) -> TrialSpec:
    found = next(spec for spec in plan(study).trials if spec.label == label)
    return dataclasses.replace(
        found,
        train=found.train.model_copy(update=train),
        model=found.model.model_copy(
            update={"settings": {**found.model.settings, **(model or {})}}
        ),
    )


def load(study: Study) -> Dataset:
    return lab_data.load(study.data.name, settings=study.data.settings)


def both(spec: TrialSpec, data: Dataset) -> tuple[TrialResult, TrialResult]:
    return run_trial(spec, data, engine="modules"), run_trial(spec, data, engine="stack")


def agree(one: TrialResult, other: TrialResult, *, rel: float = 1e-3) -> None:
    assert one.status == other.status == "finished"
    assert one.steps == other.steps
    for here, there in zip(one.epochs, other.epochs, strict=True):
        assert there.train_loss == pytest.approx(here.train_loss, rel=rel, abs=1e-5)
        assert there.test_loss == pytest.approx(here.test_loss, rel=rel, abs=1e-5)
        assert there.train_accuracy == pytest.approx(here.train_accuracy, abs=0.03)
        assert there.test_accuracy == pytest.approx(here.test_accuracy, abs=0.05)
    # And something was learned to agree about.
    assert one.epochs[-1].train_loss != one.epochs[0].train_loss


@pytest.mark.parametrize(
    "train",
    [
        {},
        pytest.param({"momentum": 0.9, **LR}, marks=pytest.mark.slow),
        {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2, **LR},
        pytest.param({"optimizer": "adam", **LR}, marks=pytest.mark.slow),
        {"optimizer": "adamw", "weight_decay": 0.1, **LR},
        {"schedule": "cosine"},
        pytest.param({"schedule": "step"}, marks=pytest.mark.slow),
        {"clip_grad_norm": 0.3},
        {"loss_reduction": "sum", "lr": 0.003},
        {"augment": "crop-flip"},
        pytest.param({"drop_last": True, "batch_size": 20}, marks=pytest.mark.slow),
        {"batch_size": 20},
        {"held_out": 16},
    ],
    ids=lambda train: "-".join(key for key in train if key != "lr") or "sgd",
)
def test_the_engines_agree(tiny_study: MakeStudy, train: dict[str, Any]) -> None:
    study = tiny_study()
    agree(*both(spec_of(study, **train), load(study)))


@pytest.mark.parametrize("norm", ["batch", "group", "gain_control"])
def test_the_engines_agree_on_norms(tiny_study: MakeStudy, norm: str) -> None:
    study = tiny_study()
    spec, data = spec_of(study, model={"norm": norm}), load(study)
    reason = refusal(spec, build_model(spec, data, seed=0))
    if norm == "group":
        assert "GroupNorm" in reason
        return
    assert reason == ""
    agree(*both(spec, data), rel=1e-2)


def test_the_engines_restart_alike(tiny_study: MakeStudy) -> None:
    study = tiny_study("restart", settings=("restart.check_epochs=1",), lr=1e-9)
    modules, stack = both(spec_of(study, "restart"), load(study))
    assert modules.restarts == stack.restarts > 0
    agree(modules, stack)


def test_the_engines_renew_the_same_filters(tiny_study: MakeStudy) -> None:
    study = tiny_study(
        "randomout", settings=("randomout.confirm=gradient", "randomout.threshold=0.05")
    )
    modules, stack = both(spec_of(study, "randomout"), load(study))
    places = [
        [(each.step, each.layer, each.filter) for each in found.renewals]
        for found in (modules, stack)
    ]
    assert places[0] == places[1] != []
    agree(modules, stack, rel=1e-2)


GRADED = ("partial-reset.every_steps=4", "partial-reset.rate=0.3")


@pytest.mark.parametrize(
    "arm", seldom(["partial-reset", "random", "inverted"], often=["partial-reset"])
)
def test_the_engines_move_units_alike(tiny_study: MakeStudy, arm: str) -> None:
    """A graded recipe and its controls: the same units by the same shares, and so the same networks."""
    arms = dict.fromkeys(("partial-reset", arm))
    study = tiny_study(*arms, settings=GRADED)
    spec, data = spec_of(study, arm), load(study)
    modules, stack = (
        run_trial(spec, data, engine=name, like=[] if arm == "random" else None)
        for name in ("modules", "stack")
    )
    places = [
        [(each.step, each.layer, each.filter) for each in one.renewals] for one in (modules, stack)
    ]
    assert places[0] == places[1] != []
    agree(modules, stack, rel=1e-2)


@pytest.mark.parametrize("engine", ["modules", "stack"])
def test_an_arm_that_never_acts_is_plain_training_in_each_engine(
    tiny_study: MakeStudy, engine: EngineName
) -> None:
    study = tiny_study("none", "partial-reset", "never", settings=GRADED)
    data = load(study)
    plain, never, acting = (
        run_trial(spec_of(study, arm), data, engine=engine)
        for arm in ("none", "never", "partial-reset")
    )

    def losses(result: TrialResult) -> list[Any]:
        return [(each.train_loss, each.test_loss) for each in result.epochs]

    assert losses(never) == losses(plain) != losses(acting)
    assert not never.renewals
    assert never.recipe_seconds > 0


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("randomout", {"active_fraction": 1.0}),
        ("self-normalized-resets", {"min_silence": 5, "max_silence": 5}),
    ],
)
def test_the_engines_find_the_same_filters_dead(
    study: MakeStudy, recipe: str, settings: dict[str, Any]
) -> None:
    """On the digits a filter of this seed is born dead; its reader follows."""
    arms = {"ro": {"recipe": recipe, "settings": settings}}
    model = {"filters": 2, "dense": 32, "init": "kaiming_normal"}
    found = study(
        data={"name": "digits", "settings": {"scale": "unit"}},
        model={"name": "cratercnn", "settings": model},
        train={"epochs": 1, "batch_size": 64, "lr": 0.01},
        arms=arms,
        seeds=[6],
    )
    modules, stack = both(spec_of(found, "ro"), load(found))
    places = [
        [(each.step, each.layer, each.filter) for each in one.renewals] for one in (modules, stack)
    ]
    assert places[0] == places[1] != []
    assert min(step for step, _, _ in places[0]) >= 4


def test_each_engine_repeats_itself_and_is_not_the_other_in_disguise(
    tiny_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who makes the passes: on some processors both round alike."""
    calls: list[int] = []
    passes = Stack.learn
    monkeypatch.setattr(
        Stack, "learn", lambda *args, **kwargs: (calls.append(1), passes(*args, **kwargs))[1]
    )
    study = tiny_study()
    spec, data = spec_of(study), load(study)
    curves = []
    for name in ("modules", "stack", "stack"):
        calls.clear()
        found = run_trial(spec, data, engine=name)
        curves.append([each.train_loss for each in found.epochs])
        assert len(calls) == (found.steps if name == "stack" else 0)
    assert curves[1] == curves[2]


# ---- which


@pytest.mark.parametrize(
    ("asked", "refused", "begun", "chosen"),
    [
        ("auto", "", None, "stack"),
        ("auto", "no", None, "modules"),
        ("auto", "", "modules", "modules"),
        ("auto", "", "stack", "stack"),
        ("auto", "no", "modules", "modules"),
        ("modules", "", None, "modules"),
        ("modules", "no", None, "modules"),
        ("stack", "", None, "stack"),
        # What was begun otherwise is refused by the store, which says why.
        ("modules", "", "stack", "modules"),
        ("stack", "", "modules", "stack"),
    ],
)
def test_the_choice(asked: str, refused: str, begun: EngineName | None, chosen: EngineName) -> None:
    assert choose(asked, refusal=refused, begun=begun) == chosen


def test_what_cannot_be_chosen() -> None:
    with pytest.raises(ConfigError, match="--engine: must be auto, modules or stack, got jax"):
        choose("jax", refusal="", begun=None)
    with pytest.raises(ConfigError, match=r"--engine stack: .* in a stack \(arm a: no\)"):
        choose("stack", refusal="arm a: no", begun=None)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("train.overlap_penalty=0.1",), "train.overlap_penalty is added to the loss"),
        (("train.channels_last=true",), "train.channels_last asks for a layout of its own"),
        (("model.norm=group",), "GroupNorm"),
    ],
)
def test_a_study_that_cannot_run_in_a_stack_says_which_arm_and_why(
    tiny_study: MakeStudy, settings: tuple[str, ...], reason: str
) -> None:
    found = preflight(plan(tiny_study("randomout", settings=settings, seeds=1)).trials)
    assert found.refusal.startswith("arm randomout: ")
    assert reason in found.refusal


def test_several_networks_cannot_and_small_chains_can(tiny_study: MakeStudy) -> None:
    found = preflight(plan(tiny_study("none", "grafting", seeds=1)).trials)
    assert found.refusal == "arm grafting: it trains 2 networks side by side"
    assert preflight(plan(tiny_study("none", "randomout", "random", seeds=1)).trials).refusal == ""


def test_a_folder_keeps_its_engine(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study(seeds=1)

    def begin(engine: EngineName) -> None:
        Store(
            tmp_path,
            document=plan(study).document,
            fingerprint_document=plan(study).fingerprint_document(
                data_digests={"base": "d"}, engine=engine
            ),
            arms=plan(study).arms,
            environment={},
        ).close()

    assert engine_of(tmp_path) is None
    begin("modules")
    assert engine_of(tmp_path) == "modules"
    begin("modules")
    with pytest.raises(StoreError, match=r"another study .*engine: nothing there, 'stack' here"):
        begin("stack")


def test_a_device_that_is_not_there_is_refused_before_training() -> None:
    check_device("cpu")
    with pytest.raises(ConfigError, match="must be cpu, cuda or cuda:N, got gpu"):
        check_device("gpu")
    with pytest.raises(ConfigError, match=r"sees \d+ GPUs here"):
        check_device("cuda:99")
    assert choose("auto", refusal="", begun=None, device="cuda") == "stack"
    with pytest.raises(ConfigError, match=r"in stacks alone .arm a: it has teachers"):
        choose("auto", refusal="arm a: it has teachers", begun=None, device="cuda")
    with pytest.raises(ConfigError, match=r"in stacks alone .--engine modules"):
        choose("modules", refusal="", begun=None, device="cuda")
