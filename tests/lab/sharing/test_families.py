"""Which trials begin as one run."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regrow.lab.checkpoint import Held
from regrow.lab.plan import plan
from regrow.lab.queue import segments
from regrow.lab.sharing import families
from regrow.study.document import Study
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]

GRID = {
    "arms.randomout.threshold": [1e-4, 1e-8],
    "arms.randomout.active_fraction": [0.2, 1.0],
}


def randomout(train: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """As published: by default the threshold is part of how activity is watched, and runs that differ in it part."""
    chosen = {"confirm": "gradient", **settings}
    return {"recipe": "randomout", "settings": chosen, "train": train or {}}


def labels(study: Study) -> list[list[str]]:
    """Labels of each family, in order."""
    return [[spec.label for spec in members] for members in families(plan(study).trials)]


@pytest.fixture
def two(study: Callable[..., Study]) -> Callable[..., Study]:
    """One seed, and these arms."""

    def make(arms: dict[str, Any], **parts: Any) -> Study:
        return study(arms=arms, seeds=[0], **parts)

    return make


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"threshold": 1e-4}, {"threshold": 1e-8}),
        ({"active_fraction": 0.2}, {"active_fraction": 1.0}),
        ({"keep_one": True}, {"keep_one": False}),
        ({"threshold": 0.5, "active_fraction": 0.01, "keep_one": True}, {}),
        ({"every_epochs": 2, "threshold": 0.5}, {"every_epochs": 2}),
        ({"confirm": "silence", "active_fraction": 0.2}, {"confirm": "silence"}),
    ],
)
def test_what_is_selected_and_how_long_may_differ(
    two: MakeStudy, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert labels(two({"a": randomout(**one), "b": randomout(**other)})) == [["a", "b"]]


@pytest.mark.parametrize(
    "setting",
    [
        {"norm": "l2"},
        {"source": "accumulated"},
        {"every_steps": 2},
        {"every_epochs": 1},
        {"reset_bias": False},
        {"reset_norm": False},
        {"optimizer_state": "kept"},
        {"readers": "zero"},
        {"preserve": True},
        {"grace_steps": 3},
        {"min_loss": 0.1},
        {"init": "xavier_normal"},
        {"confirm": "silence"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_every_other_setting_of_the_recipe_is_another_run(
    two: MakeStudy, setting: dict[str, Any]
) -> None:
    assert labels(two({"a": randomout(), "b": randomout(**setting)})) == [["a"], ["b"]]


@pytest.mark.parametrize(
    "train",
    [
        {"lr": 0.01},
        {"epochs": 19},
        {"batch_size": 32},
        {"momentum": 0.5},
        {"weight_decay": 0.1},
        {"optimizer": "adam"},
        {"schedule": "cosine"},
        {"schedule": "staircase", "stair_steps": 9},
        {"anneal_epochs": 2},
        {"warm_up_steps": 5},
        {"augment": "crop-flip"},
        {"loss_reduction": "sum"},
        {"clip_grad_norm": 1.0},
        {"held_out": 8},
        {"drop_last": True},
        {"overlap_penalty": 0.1},
        {"eval_every_epochs": 2},
        {"eval_last_epochs": 2},
    ],
    ids=lambda train: next(iter(train)),
)
def test_another_training_is_another_run(two: MakeStudy, train: dict[str, Any]) -> None:
    arms = {"none": {"recipe": "none"}, "a": randomout(), "b": randomout(train=train)}
    assert labels(two(arms)) == [["none", "a"], ["b"]]


def test_another_model_is_another_run(two: MakeStudy) -> None:
    arms = {"a": randomout(), "b": {**randomout(), "model": {"filters": 7}}}
    assert labels(two(arms)) == [["a"], ["b"]]


def test_seeds_are_families_of_their_own(study: MakeStudy) -> None:
    arms = {"a": randomout(), "none": {"recipe": "none"}, "b": randomout(threshold=0.1)}
    found = families(plan(study(arms=arms, seeds=[0, 1])).trials)
    # Plain training is first: it is the run in which nothing is ever selected.
    assert [[spec.trial for spec in members] for members in found] == [
        [f"base/{label}/seed{seed}" for label in ("none", "a", "b")] for seed in (0, 1)
    ]


def test_a_grid_over_the_recipe_is_one_run_and_one_over_the_data_is_not(study: MakeStudy) -> None:
    arms = {"none": {"recipe": "none"}, "randomout": randomout()}
    grid = {**GRID, "train.lr": [0.1, 0.2]}
    found = families(plan(study(arms=arms, grid=grid, seeds=[0])).trials)
    assert [len(members) for members in found] == [8, 8]
    assert [{spec.train.lr for spec in members} for members in found] == [{0.1}, {0.2}]
    # All cells' plain trainings are that one run too.
    assert [sum(spec.recipe == "none" for spec in members) for members in found] == [4, 4]


def test_plain_training_goes_with_the_first_kind_of_recipe(two: MakeStudy) -> None:
    arms = {
        "a": randomout(norm="l2"),
        "b": randomout(norm="l1"),
        "none": {"recipe": "none"},
        "c": randomout(norm="l2", threshold=0.5),
    }
    assert labels(two(arms)) == [["none", "a", "c"], ["b"]]


def test_plain_trainings_alone_are_one_run(two: MakeStudy) -> None:
    assert labels(two({"x": {"recipe": "none"}, "y": {"recipe": "none"}})) == [["x", "y"]]


@pytest.mark.parametrize(
    "arm",
    [
        {"recipe": "random", "like": "a"},
        {"recipe": "restart"},
        {"recipe": "repr"},
        {"recipe": "independent"},
        {"recipe": "grafting"},
        {"recipe": "none", "teachers": ["a"]},
    ],
    ids=lambda arm: f"{arm['recipe']}{'-taught' if 'teachers' in arm else ''}",
)
def test_what_cannot_share_is_alone(two: MakeStudy, arm: dict[str, Any]) -> None:
    arms = {"a": randomout(), "first": arm, "second": arm}
    found = labels(two(arms))
    assert sorted(map(len, found)) == [1, 1, 1]
    assert sorted(label for members in found for label in members) == ["a", "first", "second"]


def test_a_teacher_is_alone_for_it_leaves_its_weights(two: MakeStudy) -> None:
    arms = {
        "a": randomout(),
        "b": randomout(threshold=0.1),
        "c": randomout(threshold=0.2),
        "taught": {"recipe": "none", "teachers": ["b"]},
    }
    assert sorted(labels(two(arms))) == [["a", "c"], ["b"], ["taught"]]


def a_study_of_everything(make: MakeStudy) -> Study:
    arms: dict[str, Any] = {
        "restart": {"recipe": "restart"},
        "randomout": randomout(),
        "none": {"recipe": "none"},
        "other": randomout(norm="l2"),
        "fast": randomout(train={"lr": 0.5}),
        "random": {"recipe": "random", "like": "randomout"},
        "repr": {"recipe": "repr"},
        "plain": {"recipe": "none"},
        "taught": {"recipe": "none", "teachers": ["plain"]},
        "pair": {"recipe": "independent"},
    }
    return make(arms=arms, grid={**GRID, "train.batch_size": [32, 64]}, seeds=[3, 5])


@pytest.mark.parametrize("seed", range(5))
def test_every_trial_is_in_exactly_one_family_and_the_order_is_theirs(
    study: MakeStudy, seed: int
) -> None:
    specs = list(plan(a_study_of_everything(study)).trials)
    chooser = random.Random(seed)  # noqa: S311 # no secret
    chosen = specs if seed == 0 else chooser.sample(specs, len(specs) // seed)
    found = families(chosen)
    names = [spec.trial for members in found for spec in members]
    assert sorted(names) == sorted(spec.trial for spec in chosen)
    assert len(names) == len(set(names))
    place = {spec.trial: number for number, spec in enumerate(chosen)}
    firsts = [min(place[spec.trial] for spec in members) for members in found]
    assert firsts == sorted(firsts)
    for members in found:
        # Plain training first, and each part as it was given.
        order = [(spec.recipe != "none", place[spec.trial]) for spec in members]
        assert order == sorted(order)
        assert len({(spec.seed, spec.train.lr, spec.train.batch_size) for spec in members}) == 1
    assert families(chosen) == found


def partition(specs: list[TrialSpec]) -> set[frozenset[str]]:
    return {frozenset(spec.trial for spec in members) for members in families(specs)}


def test_families_do_not_depend_on_the_order_but_for_where_plain_training_goes(
    study: MakeStudy,
) -> None:
    specs = [spec for spec in plan(a_study_of_everything(study)).trials if spec.label != "other"]
    assert partition(specs) == partition(specs[::-1])


def test_trials_go_on_from_their_own_file_or_from_the_furthest(two: MakeStudy) -> None:
    arms = {label: randomout(threshold=0.1 * place) for place, label in enumerate("abcdef")}
    specs = plan(two(arms)).trials
    name = {spec.label: spec.trial for spec in specs}

    def held(members: str, epoch: int) -> Held:
        return Held(members=tuple(name[label] for label in members), epoch=epoch)

    files = {name["a"]: held("abcdef", 3), name["c"]: held("cd", 5), name["e"]: held("e", 1)}
    found = list(segments(specs, files))
    assert ["".join(spec.label for spec in each.specs) for each in found] == ["abf", "cd", "e"]
    assert [each.name for each in found] == [name["a"], name["c"], name["e"]]
    # The trial that names the file leads its run, wherever it stands.
    found = list(segments(specs, {name["f"]: held("fab", 2)}))
    assert ["".join(spec.label for spec in each.specs) for each in found] == ["fab", "cde"]
    # A file of a trial that has ended leads nobody.
    found = list(segments(specs[1:], {name["a"]: held("abcdef", 3)}))
    assert ["".join(spec.label for spec in each.specs) for each in found] == ["bcdef"]
    found = list(segments(specs, files, sharing=False))
    assert [[spec.label for spec in each.specs] for each in found] == [[x] for x in "abcdef"]


@pytest.mark.slow
def test_the_figure_of_the_paper_is_one_run_a_region_and_seed() -> None:
    from regrow.lab.config import load_study

    file = Path(__file__).parents[3] / "studies" / "randomout-figure3.toml"
    specs = plan(load_study(file)).trials
    assert len(specs) >= 2 * 50 * (9 * 16 + 1)
    found = families(specs)
    assert len(found) == 100
    assert len({len(members) for members in found}) == 1


def test_how_far_units_are_moved_is_no_mask_and_such_runs_are_not_shared(
    two: Callable[..., Study],
) -> None:
    """Two rates mark the same units: as one run the second would be moved by the first one's strengths."""
    moved = {
        label: {"recipe": "partial-reset", "settings": {"rate": rate}}
        for label, rate in (("a", 0.1), ("b", 0.2))
    }
    assert labels(two({"none": {"recipe": "none"}, **moved})) == [["none"], ["a"], ["b"]]
