from __future__ import annotations

from collections.abc import Callable

import pytest

from regrow.errors import ConfigError
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


def test_a_part_of_the_grid_is_taken_by_whole_keys_and_values(study: MakeStudy) -> None:
    every = plan(study(grid={"train.lr": [0.05, 0.5], "model.dense": [16, 32]})).trials
    found = of_cells(every, ["train.lr=0.05"])
    assert {spec.cell for spec in found} == {
        "train.lr=0.05,model.dense=16",
        "train.lr=0.05,model.dense=32",
    }
    assert {spec.cell for spec in of_cells(every, ["train.lr=0.5", "model.dense=16"])} == {
        "train.lr=0.5,model.dense=16"
    }
    assert of_cells(every, []) == every
    with pytest.raises(
        ConfigError, match=r"--only: no cell has train\.lr=0; the first are train\.lr=0\.05,"
    ):
        of_cells(every, ["train.lr=0"])
