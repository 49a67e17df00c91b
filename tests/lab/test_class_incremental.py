"""Trials in which classes arrive: which outputs take part, in any engine and beside other networks; recipes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F  # noqa: N812

from lab.alone import run_trial
from lab.test_streams import a_study, spec_of
from lab.test_trial import Interrupted, dataset_of, stop_after
from regrow.lab.assembly import build_model
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.engines.stack import StackEngine
from regrow.lab.member import Member
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.loop import Regrower, attach
from regrow.streams import tasks
from regrow.study.document import EngineName
from regrow.study.records import EpochRecord

STREAM = {"kind": "class-incremental", "tasks": 5, "steps": 8}


@pytest.fixture(scope="module")
def ten_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training and 100 test digits of all classes."""
    images, labels = load_digits(return_X_y=True)
    x, y = images.reshape(-1, 8, 8).astype(np.float32), labels.astype(np.int64)
    path = tmp_path_factory.mktemp("data") / "digits10.npz"
    np.savez(path, x_train=x[:200], y_train=y[:200], x_test=x[200:300], y_test=y[200:300])
    return path


@pytest.mark.parametrize("engine", ["modules", "stack"])
def test_outputs_of_classes_to_come_keep_their_weights(
    ten_digits: Path, tmp_path: Path, engine: EngineName
) -> None:
    """Those of classes that have arrived move, from their first task on; also among networks at other tasks."""
    study = a_study(ten_digits, stream=STREAM)
    spec, data = spec_of(study, "none"), dataset_of(study)
    fresh = build_model(spec, data, seed=spec.seed).state_dict()
    for tasks_done in (1, 3):
        folder = tmp_path / f"{tasks_done}"
        folder.mkdir()
        file = CheckpointFile(folder / "t.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
        with pytest.raises(Interrupted):
            run_trial(spec, data, checkpoint=file, on_epoch=stop_after(tasks_done), engine=engine)
        state = file.load()
        assert state is not None
        model = state["members"][0]["model"]
        (head,) = (name for name in fresh if fresh[name].ndim == 2 and len(fresh[name]) == 10)
        for name in (head, head.replace("weight", "bias")):
            moved = (model[name] != fresh[name]).view(10, -1).any(1).tolist()
            assert moved == [True] * 2 * tasks_done + [False] * (10 - 2 * tasks_done)


def test_what_a_trial_gets_is_the_same_alone_and_beside_others(ten_digits: Path) -> None:
    """Networks of several seeds in one stack, one of which is at another task and has more outputs."""
    study = a_study(ten_digits, stream=STREAM, seeds=[0, 1, 2])
    specs = [spec for spec in plan(study).trials if spec.label == "redo"]
    data = dataset_of(study)
    members = [Member(spec, data) for spec in specs]
    engine = StackEngine()
    engine.train_epoch(members[:1], [1])
    engine.train_epoch(members, [2, 1, 1])
    for spec, member, epochs in zip(specs, members, [(1, 2), (1,), (1,)], strict=True):
        alone, own = Member(spec, data), StackEngine()
        for epoch in epochs:
            own.train_epoch([alone], [epoch])
        for name, weight in alone.model.state_dict().items():
            assert torch.equal(weight, member.model.state_dict()[name])


def test_recipes_that_measure_do_so_by_the_loss_of_the_classes_that_have_arrived(
    ten_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def attached(*args: Any, **named: Any) -> Regrower:
        given.update(named)
        return attach(*args, **named)

    monkeypatch.setattr("regrow.lab.assembly.attach", attached)
    study = a_study(ten_digits, stream=STREAM)
    spec, data = spec_of(study, "redo"), dataset_of(study)
    scores, labels = torch.randn(6, 10), torch.zeros(6, dtype=torch.int64)
    seen: list[int] = []

    def look(record: EpochRecord) -> None:
        """Behind an epoch, which is a task here, the next one is the newest; behind the last there is none."""
        if record.epoch < 5:
            there = 2 * (record.epoch + 1)
            assert set(given["calibration_targets"]().tolist()) == set(range(there))
            loss = F.cross_entropy(scores[:, :there], labels)
            assert torch.equal(given["calibration_loss"](scores, labels), loss)
            seen.append(there)

    run_trial(spec, data, on_epoch=look)
    assert seen == [4, 6, 8, 10]


def test_the_optimizers_next_step_is_that_of_the_classes_that_have_arrived(
    ten_digits: Path, tmp_path: Path
) -> None:
    study = a_study(ten_digits, stream=STREAM, diagnostics={"ranks": True})
    spec, data = spec_of(study, "none"), dataset_of(study)
    file = CheckpointFile(tmp_path / "t.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run_trial(spec, data, checkpoint=file, on_epoch=stop_after(2))
    state = file.load()
    assert state is not None
    assert spec.stream is not None
    member = Member(spec, data)
    member.load(state["members"][0])
    task = tasks.task(spec.stream, data, seed=spec.seed, index=1)
    before = {name: each.detach().clone() for name, each in member.model.named_parameters()}
    F.cross_entropy(member.model(task.test_images)[:, :4], task.test_labels).backward()
    member.optimizer.step()
    known = {each["layer"]: each for each in state["tasks"]["health"] if each["task"] == 2}
    for path, each in known.items():
        old, new = before[f"{path}.weight"], member.model.state_dict()[f"{path}.weight"]
        longest = max(float(old.norm()), math.sqrt(old.numel() / (3 * old.shape[1])))
        assert each["step"] == pytest.approx(float((new - old).norm()) / longest, rel=1e-3)
    assert len(known) == 2


@pytest.mark.parametrize("recipe", ["redo", "regrama", "keepalive", "l2-init"])
def test_recipes_are_tried_where_classes_arrive(ten_digits: Path, recipe: str) -> None:
    study = a_study(ten_digits, stream=STREAM, arms={"a": {"recipe": recipe}})
    spec, data = spec_of(study, "a"), dataset_of(study)
    assert preflight(plan(study).trials).refusal == ""
    pieces = [run_trial(spec, data, engine=engine) for engine in ("modules", "stack")]
    assert [len(each.tasks) for each in pieces] == [5, 5]
