from __future__ import annotations

from collections.abc import Callable

import pytest

from regrow.errors import ConfigError, UnknownNameError
from regrow.lab.plan import plan
from regrow.study.document import Study
from regrow.study.trials import of_cells

MakeStudy = Callable[..., Study]


def test_seeds_come_first_and_a_control_after_its_partner(study: MakeStudy) -> None:
    assert [spec.trial for spec in plan(study()).trials] == [
        "base/none/seed3",
        "base/ro/seed3",
        "base/control/seed3",
        "base/none/seed5",
        "base/ro/seed5",
        "base/control/seed5",
    ]


def test_the_grid_multiplies_out_with_the_last_key_fastest(study: MakeStudy) -> None:
    grid = {"train.lr": [0.05, 1], "model.dense": [16, 32]}
    found = plan(study(grid=grid), where="test").cells
    assert [cell.name for cell in found] == [
        "train.lr=0.05,model.dense=16",
        "train.lr=0.05,model.dense=32",
        "train.lr=1,model.dense=16",
        "train.lr=1,model.dense=32",
    ]
    assert (found[3].study.train.lr, found[3].study.model.settings["dense"]) == (1.0, 32)
    assert len(plan(study(grid=grid)).trials) == 4 * 2 * 3
    assert plan(study(grid=grid)).document["grid"] == grid


def test_a_grid_over_an_arm_reaches_its_control(study: MakeStudy) -> None:
    found = plan(study(grid={"arms.ro.readers": ["keep", "redraw"]}), where="test").cells
    assert [cell.study.arms["control"].settings["readers"] for cell in found] == ["keep", "redraw"]


def test_a_grid_value_that_cannot_be_named_is_refused(study: MakeStudy) -> None:
    with pytest.raises(ConfigError, match=r'grid\."train\.lr": must list texts, numbers'):
        _ = plan(study(grid={"train.lr": [[1]]}), where="test").cells


def test_specs_carry_all_that_a_worker_needs(tiny_study: MakeStudy) -> None:
    import pickle

    specs = plan(tiny_study("none", "randomout", "random")).trials
    assert pickle.loads(pickle.dumps(specs)) == specs  # noqa: S301 # as multiprocessing sends them


def test_cells_are_taken_by_what_their_settings_are(study: MakeStudy) -> None:
    asked = plan(study(grid={"train.lr": [0.05, 0.5], "model.dense": [16, 32]}))
    every, grid = asked.trials, asked.cells
    found = of_cells(every, ["train.lr=0.05"], among=grid)
    assert {spec.cell for spec in found} == {
        "train.lr=0.05,model.dense=16",
        "train.lr=0.05,model.dense=32",
    }
    both = of_cells(every, ["train.lr=0.5", "model.dense=16"], among=grid)
    assert {spec.cell for spec in both} == {"train.lr=0.5,model.dense=16"}
    assert of_cells(every, [], among=grid) == every


GRID: dict[str, list[object]] = {
    "ro.threshold": [1e-8, 0.001],
    "arms.ro.preserve": [True, False],
    "model.init": ["torch_default", "uniform:0.5"],
}


@pytest.mark.parametrize(
    ("asked", "inside"),
    [
        ("ro.threshold=1e-8", "ro.threshold=1e-08"),
        ("ro.threshold=0.00000001", "ro.threshold=1e-08"),
        ("ro.threshold=1e-3", "ro.threshold=0.001"),
        ("arms.ro.threshold=1e-8", "ro.threshold=1e-08"),
        ("ro.settings.threshold = 1e-8", "ro.threshold=1e-08"),
        ("ro.preserve=true", "arms.ro.preserve=True"),
        ("arms.ro.preserve=false", "arms.ro.preserve=False"),
        ("model.init=uniform:0.5", "model.init=uniform:0.5"),
        ('model.init="uniform:0.5"', "model.init=uniform:0.5"),
    ],
)
def test_a_cell_is_asked_for_with_the_words_of_set(
    study: MakeStudy, asked: str, inside: str
) -> None:
    grid = plan(study(grid=GRID), where="test").cells
    every = plan(study(grid=GRID)).trials
    found = {spec.cell for spec in of_cells(every, [asked], among=grid)}
    assert found == {cell.name for cell in grid if inside in cell.name.split(",")}
    assert len(found) == 4


def test_what_the_grid_does_not_vary_is_the_same_in_every_cell(study: MakeStudy) -> None:
    asked = study(grid={"train.lr": [0.05, 1]})
    every, grid = plan(asked).trials, plan(asked, where="test").cells
    for text in ("train.epochs=20", "ro.readers=zero", "ro.min_loss=null", "data.split_seed=0"):
        assert of_cells(every, [text], among=grid) == every
    # A whole number is the number that it is, and true is none.
    assert {spec.cell for spec in of_cells(every, ["train.lr=1.0"], among=grid)} == {"train.lr=1"}
    with pytest.raises(ConfigError, match=r"no cell has train\.lr=true; train\.lr is 0\.05, 1\.0"):
        of_cells(every, ["train.lr=true"], among=grid)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["ro.threshold=1e-7"], "no cell has ro.threshold=1e-7; ro.threshold is 1e-08, 0.001"),
        (["ro.preserve=1"], "no cell has ro.preserve=1; ro.preserve is true, false"),
        (["model.init=[1, 2]"], "no cell has model.init=[1, 2]; model.init is torch_default, unif"),
        (
            ["model.init=uniform:0.5", "ro.threshold=0"],
            "no cell has model.init=uniform:0.5 and ro.threshold=0; ro.threshold is 1e-08, 0.001",
        ),
        (
            ["ro.treshold=1e-8"],
            "no cell has ro.treshold=1e-8, for nothing is called ro.treshold; the cells are "
            "ro.threshold=1e-08,arms.ro.preserve=True,model.init=torch_default, ro.thr",
        ),
        (["threshold"], "--only must be KEY=VALUE, got 'threshold'"),
        (["threshold=1"], "--only threshold=1: must be like train.lr or randomout.threshold"),
        (
            ["rx.threshold=1"],
            "--only rx.threshold=1: unknown part of the study 'rx'; known: control, da",
        ),
    ],
)
def test_what_no_cell_has_is_told_with_what_there_is(
    study: MakeStudy, asked: list[str], told: str
) -> None:
    every, grid = plan(study(grid=GRID)).trials, plan(study(grid=GRID), where="test").cells
    with pytest.raises((ConfigError, UnknownNameError)) as error:
        of_cells(every, asked, among=grid)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
