"""Trials over a stream of tasks: against a loop written out, paired, interrupted, killed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from crossed import crossed
from lab.alone import run_trial
from lab.sharing.running import go, small_study, tables
from lab.test_trial import Interrupted, dataset_of, stop_after, without_times
from regrow.engine import Stack
from regrow.errors import ConfigError
from regrow.lab.assembly import build_model, build_optimizer
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.data import Dataset
from regrow.lab.engines.feed import Feed, batches
from regrow.lab.member import Member
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.loop import Regrower, attach
from regrow.streams import tasks
from regrow.streams.task import Task
from regrow.study.document import EngineName, Study
from regrow.study.generator_keys import generator_key
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec

STREAM = {"kind": "random-labels", "tasks": 4, "epochs": 3, "images": 40}
ARMS: Mapping[str, Mapping[str, Any]] = {
    "none": {"recipe": "none"},
    "fresh": {"recipe": "restart-each-task"},
    "redo": {"recipe": "redo", "settings": {"every_steps": 4, "threshold": 0.6}},
}
TRAIN = {"batch_size": 16, "optimizer": "adam", "lr": 0.01}


def a_study(digits: Path, *, arms: Any = ARMS, **parts: Any) -> Study:
    model = {"name": "mlp", "settings": {"width": 12}}
    return small_study(digits, arms, **{"model": model, "train": TRAIN, "stream": STREAM, **parts})


def spec_of(study: Study, label: str) -> TrialSpec:
    return next(spec for spec in plan(study).trials if spec.label == label)


def networks(spec: TrialSpec, data: Dataset) -> Iterator[tuple[nn.Module, torch.optim.Optimizer]]:
    """The network of each task: one for all, or a fresh one for each."""
    stream = spec.stream
    assert stream is not None
    model = build_model(spec, data, seed=spec.seed)
    optimizer = build_optimizer(spec.train, model)
    for index in range(stream.tasks):
        if index and spec.recipe == "restart-each-task":
            model = build_model(spec, data, seed=generator_key("restart", spec.seed, index))
            optimizer = build_optimizer(spec.train, model)
        yield model, optimizer


def written_out(spec: TrialSpec, data: Dataset) -> list[tuple[float, float, float]]:
    """Online accuracy and loss, and accuracy at the end, of each task, in a loop that anybody would write."""
    stream, found, epoch = spec.stream, list[tuple[float, float, float]](), 0
    assert stream is not None
    for index, (model, optimizer) in enumerate(networks(spec, data)):
        task = tasks.task(stream, data, seed=spec.seed, index=index)
        right, losses, seen = 0, 0.0, 0
        for _ in range(stream.epochs or 1):
            epoch += 1
            size = spec.train.batch_size
            count = len(task.images)
            order = tasks.order(stream, seed=spec.seed, epoch=epoch, images=count, batch_size=size)
            for rows in order.split(size):
                scores = model(task.images[rows])[:, : task.outputs]
                loss = F.cross_entropy(scores, task.labels[rows])
                right += int((scores.argmax(1) == task.labels[rows]).sum())
                losses += float(loss.detach()) * len(rows)
                seen += len(rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            answers = model(task.test_images)[:, : task.outputs].argmax(1)
        end = float((answers == task.test_labels).double().mean())
        found.append((right / seen, losses / seen, end))
    return found


STREAMS: dict[str, dict[str, Any]] = {
    "random-labels": {"tasks": 4, "epochs": 3, "images": 40},
    "permuted": {"tasks": 3, "steps": 7, "images": 40},
    "permuted-labels": {"tasks": 3, "epochs": 1, "told": True},
    "stationary": {"tasks": 2, "epochs": 2, "images": 30},
    "warm-start": {"steps": 8},
    "class-incremental": {"tasks": 3, "steps": 8, "told": True},
    "interpolated": {"of": "permuted-labels", "tasks": 3, "epochs": 2, "images": 40},
    "noisy": {"tasks": 2, "epochs": 2, "noisy_tasks": 1},
}


def of_kind(kind: str) -> dict[str, Any]:
    return {"kind": kind, **STREAMS[kind]}


@pytest.mark.parametrize(
    ("kind", "engine", "label"), crossed(STREAMS, ["modules", "stack"], ["none", "fresh"])
)
def test_a_stream_is_trained_as_in_a_loop_written_out(
    digits_npz: Path, kind: str, engine: EngineName, label: str
) -> None:
    study = a_study(digits_npz, stream=of_kind(kind))
    spec, data = spec_of(study, label), dataset_of(study)
    result = run_trial(spec, data, engine=engine)
    expected = written_out(spec, data)
    assert [each.task for each in result.tasks] == list(range(1, len(expected) + 1))
    for record, (online, loss, end) in zip(result.tasks, expected, strict=True):
        # Rounding is the stacks' own, and an answer in a hundred may turn.
        near = 0.03 if engine == "stack" else 1e-12
        assert record.online_accuracy == pytest.approx(online, abs=near)
        assert record.online_loss == pytest.approx(loss, rel=1e-4)
        assert record.accuracy == pytest.approx(end, abs=near)
    last = result.tasks[-1]
    at_end = {"warm-start", "class-incremental", "interpolated", "noisy"}
    assert result.accuracy == (last.accuracy if kind in at_end else last.online_accuracy)
    assert result.restarts == (len(expected) - 1 if label == "fresh" else 0)


def test_a_trial_is_judged_by_the_last_tenth_of_its_tasks(digits_npz: Path) -> None:
    stream = {"kind": "permuted", "tasks": 11, "steps": 1}
    study = a_study(digits_npz, stream=stream)
    result = run_trial(spec_of(study, "none"), dataset_of(study))
    last = [record.online_accuracy for record in result.tasks[-2:]]
    assert result.accuracy == pytest.approx(sum(last) / 2)
    assert result.row(finished_at="now").test_accuracy == result.accuracy


def test_tasks_that_a_diverged_trial_did_not_reach_have_nothing_right(digits_npz: Path) -> None:
    study = a_study(digits_npz, train={**TRAIN, "optimizer": "sgd", "lr": 1e30})
    diverged = run_trial(spec_of(study, "none"), dataset_of(study))
    assert diverged.status == "diverged"
    assert diverged.accuracy == 0.0
    # A fresh network begins with finite weights again, and is let go on.
    restarted = run_trial(spec_of(study, "fresh"), dataset_of(study))
    assert restarted.restarts == 3
    assert len(restarted.tasks) >= 3


def shown(spec: TrialSpec, data: Dataset, epoch: int) -> list[tuple[Tensor, Tensor]]:
    return [(images, labels) for _, images, labels in Member(spec, data).batches(epoch)]


@pytest.mark.parametrize("kind", STREAMS)
def test_all_arms_and_engines_see_the_same_images_labels_and_order(
    digits_npz: Path, kind: str
) -> None:
    study = a_study(digits_npz, stream=of_kind(kind))
    data = dataset_of(study)
    specs = [replace(spec_of(study, "none"), seed=seed) for seed in (0, 5)]
    last = specs[0].train.epochs
    for epoch in (1, last):
        alone = [shown(spec, data, epoch) for spec in specs]
        other = shown(spec_of(study, "redo"), data, epoch)
        members = [Member(spec, data) for spec in specs]
        together = list(batches(members, [epoch, epoch]))
        stack = Stack([member.model for member in members])
        fed = [
            (torch.stack([each.of(0), each.of(1)]), each.labels.clone(), each.laid)
            for each in Feed().epoch(stack, members, [epoch, epoch])
        ]
        assert all(laid for *_, laid in fed)
        for one, (images, labels, _) in zip(together, fed, strict=True):
            assert torch.equal(one[0], images)
            assert torch.equal(one[1], labels)
        for number, (images, labels) in enumerate(together):
            for place, own in enumerate(alone):
                assert torch.equal(images[place], own[number][0])
                assert torch.equal(labels[place], own[number][1])
            assert torch.equal(other[number][0], images[0])
            assert torch.equal(other[number][1], labels[0])
        assert len(together) == len(other) == len(alone[0])


def in_pieces(
    spec: TrialSpec, data: Dataset, folder: Path, stops: list[int], *, engine: EngineName
) -> TrialResult:
    """A trial that is interrupted behind these epochs."""

    def file() -> CheckpointFile:
        return CheckpointFile(folder / "t.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)

    for epoch in stops:
        with pytest.raises(Interrupted):
            run_trial(spec, data, checkpoint=file(), on_epoch=stop_after(epoch), engine=engine)
    return run_trial(spec, data, checkpoint=file(), engine=engine)


GOING_ON: dict[str, dict[str, Any]] = {
    "random-labels": STREAM,
    "class-incremental": {"kind": "class-incremental", "tasks": 3, "steps": 7},
    "interpolated": {**STREAM, "kind": "interpolated", "of": "random-labels", "moving": 0.8},
    "blend": {
        **STREAM,
        "kind": "interpolated",
        "of": "permuted",
        "moving": 0.8,
        "how": "blend",
    },
}


@pytest.mark.parametrize(
    ("kind", "engine", "label"), crossed(GOING_ON, ["modules", "stack"], list(ARMS))
)
def test_a_trial_goes_on_in_mid_stream_bit_for_bit(
    digits_npz: Path, tmp_path: Path, kind: str, label: str, engine: EngineName
) -> None:
    """Within a task, and right before a new one begins (3 epochs a task; one where the length is said in steps)."""
    study = a_study(digits_npz, stream=GOING_ON[kind])
    spec, data = spec_of(study, label), dataset_of(study)
    whole = run_trial(spec, data, engine=engine)
    stops = [1, 2] if kind == "class-incremental" else [2, 3, 6, 10]
    pieces = in_pieces(spec, data, tmp_path, stops, engine=engine)
    assert without_times(pieces) == without_times(whole)
    assert len(whole.tasks) == GOING_ON[kind]["tasks"]
    assert len(whole.health) == 2 * len(whole.tasks)


def test_the_optimizer_is_carried_over_task_changes(digits_npz: Path, tmp_path: Path) -> None:
    study = a_study(digits_npz)
    data = dataset_of(study)
    for label, steps in (("none", 4 * 9), ("fresh", 9)):
        spec = spec_of(study, label)
        folder = tmp_path / label
        folder.mkdir()
        file = CheckpointFile(folder / "t.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
        with pytest.raises(Interrupted):
            # Two epochs of the last task's three have three steps each.
            run_trial(spec, data, checkpoint=file, on_epoch=stop_after(11))
        state = file.load()
        assert state is not None
        counts = {float(own["step"]) for own in state["members"][0]["optimizer"]["state"].values()}
        assert counts == {steps - 3}


@pytest.mark.parametrize("engine", ["modules", "stack"])
def test_a_recipe_is_told_of_each_task_once(
    digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: EngineName
) -> None:
    """Also where the trial is interrupted right before a task begins."""
    told: list[int] = []

    def boundary(regrower: Regrower) -> None:
        told.append(regrower.report.steps)

    monkeypatch.setattr(Regrower, "boundary", boundary)
    study = a_study(digits_npz, stream={**STREAM, "told": True})
    spec, data = spec_of(study, "redo"), dataset_of(study)
    run_trial(spec, data, engine=engine)
    whole = list(told)
    told.clear()
    in_pieces(spec, data, tmp_path, [3, 5, 9], engine=engine)
    assert told == whole
    assert len(whole) == 3
    run_trial(spec_of(a_study(digits_npz), "redo"), data, engine=engine)
    assert told == whole


def test_recipes_that_measure_do_so_on_the_images_of_the_task(
    digits_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def attached(*args: Any, **named: Any) -> Regrower:
        given.update(named)
        return attach(*args, **named)

    monkeypatch.setattr("regrow.lab.assembly.attach", attached)
    study = a_study(digits_npz, stream=of_kind("permuted"))
    spec, data = spec_of(study, "redo"), dataset_of(study)
    stream = spec.stream
    assert stream is not None
    seen: list[int] = []

    def look(record: EpochRecord) -> None:
        """Behind an epoch, which is a task here, the next one is the newest; behind the last there is none."""
        if record.epoch < 3:
            task = tasks.task(stream, data, seed=spec.seed, index=record.epoch)
            assert torch.equal(given["calibration_inputs"](), task.images)
            assert torch.equal(given["calibration_targets"](), task.labels)
            seen.append(record.epoch)

    run_trial(spec, data, on_epoch=look)
    assert seen == [1, 2]


DEADLY = """
import os, pathlib, signal
from torch import nn


class Net(nn.Sequential):
    steps = 0

    def forward(self, x):
        if self.training:
            self.steps += 1
            if self.steps == self.deadly and not self.flag.exists():
                self.flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def make(*, in_channels, image_size, classes, flag, deadly):
    net = Net(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, classes))
    net.flag, net.deadly = pathlib.Path(flag), deadly
    return net
"""


@pytest.mark.slow
def test_a_study_that_is_killed_in_mid_stream_ends_with_the_same_results(
    digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly_streams.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    flag, found = tmp_path / "flag", dict[str, Any]()
    for how in ("quiet", "killed"):
        flag.touch() if how == "quiet" else flag.unlink()
        settings = {"flag": str(flag), "deadly": 23}
        model = {"name": "deadly_streams:make", "settings": settings}
        study = a_study(digits_npz, arms={"redo": ARMS["redo"]}, model=model)
        found[how] = go(study, tmp_path / how, checkpoint_every_s=0.0)
    assert tables(found["killed"].folder) == tables(found["quiet"].folder)
    assert any("killed by SIGKILL" in notice for notice in found["killed"].notices)
    assert found["quiet"].notices == []


@pytest.mark.slow
def test_trials_that_share_a_run_leave_what_they_leave_alone(
    digits_npz: Path, tmp_path: Path
) -> None:
    arms = {
        "none": {"recipe": "none"},
        "a": {"recipe": "randomout", "settings": {"threshold": 1e-4, "confirm": "gradient"}},
        "b": {"recipe": "randomout", "settings": {"threshold": 1e-3, "confirm": "gradient"}},
    }
    study = a_study(digits_npz, arms=arms, seeds=[0, 1])
    shared = go(study, tmp_path / "shared")
    alone = go(study, tmp_path / "alone", sharing=False)
    assert tables(shared.folder) == tables(alone.folder)
    assert shared.effort < alone.effort
    rows = tables(shared.folder)
    assert len(rows["tasks"]) == 6 * 4
    assert len(rows["health"]) == 6 * 4 * 2


def test_a_recipe_that_acts_at_boundaries_does_so_in_a_trial(
    digits_npz: Path, tmp_path: Path
) -> None:
    arms = {"shrink": {"recipe": "shrink-perturb", "settings": {"shrink": 0.5}}}
    study = a_study(digits_npz, arms=arms, stream={**STREAM, "told": True})
    spec, data = spec_of(study, "shrink"), dataset_of(study)
    whole = run_trial(spec, data)
    plain = run_trial(replace(spec, recipe="none", settings={}), data)
    assert whole.tasks[0] == plain.tasks[0]
    assert whole.tasks[1] != plain.tasks[1]
    pieces = in_pieces(spec, data, tmp_path, [3, 7], engine="modules")
    assert without_times(pieces) == without_times(whole)


class TestHealth:
    """Shares and lengths against the network written out in float64."""

    def layers(self, model: nn.Module, images: Tensor) -> dict[str, Tensor]:
        state = {name: tensor.double() for name, tensor in model.state_dict().items()}
        found: dict[str, Tensor] = {}
        x = images.flatten(1).double()
        for path in ("hidden.dense1", "hidden.dense2"):
            x = (x @ state[f"{path}.weight"].T + state[f"{path}.bias"]).clamp(min=0)
            found[path] = x
        return found

    def steps(
        self, spec: TrialSpec, model: nn.Module, state: Mapping[str, Any], task: Task
    ) -> dict[str, float]:
        """By layer the length of the next step over that of the weight, which is longer than a fresh one."""
        before = {name: each.detach().clone() for name, each in model.named_parameters()}
        optimizer = build_optimizer(spec.train, model)
        optimizer.load_state_dict(state["optimizer"])
        F.cross_entropy(model(task.test_images), task.test_labels).backward()
        optimizer.step()
        found: dict[str, float] = {}
        for path in ("hidden.dense1", "hidden.dense2"):
            old, new = before[f"{path}.weight"], model.state_dict()[f"{path}.weight"]
            assert old.norm() > math.sqrt(old.numel() / (3 * old.shape[1]))
            found[path] = float((new - old).norm() / old.norm())
        return found

    def test_dead_dormant_and_large(self, digits_npz: Path, tmp_path: Path) -> None:
        asked = {"ranks": True}
        study = a_study(digits_npz, train={**TRAIN, "lr": 0.05}, diagnostics=asked)
        spec, data = spec_of(study, "none"), dataset_of(study)
        file = CheckpointFile(tmp_path / "t.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
        with pytest.raises(Interrupted):
            run_trial(spec, data, checkpoint=file, on_epoch=stop_after(6))
        state = file.load()
        assert state is not None
        model = build_model(spec, data, seed=spec.seed)
        model.load_state_dict(state["members"][0]["model"])
        assert spec.stream is not None
        task = tasks.task(spec.stream, data, seed=spec.seed, index=1)
        known = {each["layer"]: each for each in state["tasks"]["health"] if each["task"] == 2}
        assert len(known) == 2
        some_dead = 0.0
        for path, given in self.layers(model, task.test_images).items():
            dead = (given == 0).all(0).double().mean()
            size = given.mean(0)
            dormant = (size <= 0.1 * size.mean()).double().mean()
            weight = model.state_dict()[f"{path}.weight"].double()
            assert known[path]["dead"] == pytest.approx(float(dead))
            assert known[path]["dormant"] == pytest.approx(float(dormant))
            assert known[path]["weight_norm"] == pytest.approx(float(weight.norm()))
            singular = torch.linalg.svdvals(given)
            shares = singular[singular > 0] / singular.sum()
            rank = float((-(shares * shares.log()).sum()).exp())
            assert known[path]["effective_rank"] == pytest.approx(rank, rel=1e-4)
            enough = (shares.cumsum(0) < 0.99).sum() + 1
            assert known[path]["srank"] == int(enough)
            fires = (given != 0).double().mean(0)
            assert known[path]["rare"] == float(((fires > 0) & (fires < 0.01)).double().mean())
        for path, step in self.steps(spec, model, state["members"][0], task).items():
            assert known[path]["step"] == pytest.approx(step, rel=1e-4)
            some_dead += known[path]["dormant"]
        assert some_dead > 0


class TestProbe:
    """What a network can still learn, against two networks that are trained by hand."""

    @pytest.mark.parametrize(
        ("engine", "kind"), crossed(["modules", "stack"], ["random-labels", "class-incremental"])
    )
    def test_the_gap_is_that_of_two_networks_trained_by_hand(
        self, digits_npz: Path, tmp_path: Path, engine: EngineName, kind: str
    ) -> None:
        study = a_study(digits_npz, stream=GOING_ON[kind], diagnostics={"probe_steps": 3})
        spec, data = spec_of(study, "none"), dataset_of(study)
        file = CheckpointFile(tmp_path / "t.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
        stop = stop_after(6 if kind == "random-labels" else 2)
        with pytest.raises(Interrupted):
            run_trial(spec, data, checkpoint=file, on_epoch=stop, engine=engine)
        state = file.load()
        assert state is not None
        assert spec.stream is not None
        task = tasks.task(spec.stream, data, seed=spec.seed, index=1)
        losses: list[float] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            shuffled = task.test_labels[torch.randperm(len(task.test_labels))]
            fresh = build_model(spec, data, seed=spec.seed)
            for module in fresh.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()
            here = build_model(spec, data, seed=spec.seed)
            here.load_state_dict(state["members"][0]["model"])
            for model in (here, fresh):
                optimizer = build_optimizer(spec.train, model)
                for _ in range(3):
                    optimizer.zero_grad()
                    scores = model(task.test_images)[:, : task.outputs]
                    F.cross_entropy(scores, shuffled).backward()
                    optimizer.step()
                scores = model(task.test_images)[:, : task.outputs]
                losses.append(float(F.cross_entropy(scores, shuffled).detach()))
        known = {each["task"]: each["gap"] for each in state["tasks"]["probes"]}
        assert set(known) == {1, 2}
        assert known[2] == pytest.approx(losses[0] - losses[1], abs=1e-5)

    @pytest.mark.parametrize("engine", ["modules", "stack"])
    def test_it_changes_nothing_else(self, digits_npz: Path, engine: EngineName) -> None:
        asked = a_study(digits_npz, diagnostics={"probe_steps": 2})
        data = dataset_of(asked)
        whole = run_trial(spec_of(asked, "redo"), data, engine=engine)
        plain = run_trial(spec_of(a_study(digits_npz), "redo"), data, engine=engine)
        assert len(whole.probes) == len(whole.tasks)
        assert without_times(replace(whole, probes=())) == without_times(plain)

    def test_a_trial_goes_on_with_what_it_had_found(self, digits_npz: Path, tmp_path: Path) -> None:
        study = a_study(digits_npz, diagnostics={"probe_steps": 2})
        spec, data = spec_of(study, "none"), dataset_of(study)
        pieces = in_pieces(spec, data, tmp_path, [5, 7], engine="modules")
        assert pieces.probes == run_trial(spec, data).probes


CLASSES = {"stream": {"kind": "class-incremental", "tasks": 3, "steps": 3}}
MOVING = {"kind": "interpolated", "of": "permuted", "tasks": 2, "epochs": 1}

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"stream": {"kind": "permuted", "tasks": 2}}, r"stream: .*by epochs or by steps.*got neither"),
    ({"stream": {"tasks": 2, "epochs": 1}}, "stream: kind is missing"),
    ({"stream": {"kind": "permutted", "tasks": 2}}, r"stream: kind must be one of .*'permuted'"),
    ({"stream": {"kind": "permuted", "epochs": 1}}, r"stream\.tasks: is missing"),
    (
        {"stream": {"kind": "permuted", "tasks": 2, "epochs": 1, "noise": 0.1}},
        r"stream: unknown key 'noise'.*images",
    ),
    ({"stream": 3}, "stream: must be a table, got 3"),
    ({"stream": {"kind": "warm-start", "epochs": 3}}, "'warm-start' have different numbers"),
    (
        {"stream": {"kind": "class-incremental", "tasks": 5, "epochs": 3}},
        "'class-incremental' have more and more images: .* said by steps, got epochs = 3",
    ),
    (
        {"stream": {"kind": "class-incremental", "tasks": 5, "steps": 3, "group": 0}},
        r"stream\.group: must be at least 1, got 0",
    ),
    (
        {**CLASSES, "arms": {"a": {"recipe": "restart"}}},
        "arms.a: recipe 'restart' begins anew where .* of all classes.*'restart-each-task'",
    ),
    ({"stream": {**MOVING, "of": "noisy"}}, r"stream\.of: must be one of .*'permuted'"),
    ({"stream": {**MOVING, "moving": 0.0}}, r"stream\.moving: must be above 0, got 0\.0"),
    (
        {"stream": {**MOVING, "of": "random-labels", "how": "blend"}},
        "how must be 'sample' where of = 'random-labels', .* got 'blend'",
    ),
    ({"stream": {**MOVING, "levels": 4}}, "levels is for how = 'blend', got 4 with 'sample'"),
    (
        {"stream": {"kind": "noisy", "tasks": 1, "epochs": 3, "noisy_tasks": 2}},
        r"noisy_tasks must be at most tasks \(1\), got 2",
    ),
    ({"train": {"epochs": 30}}, r"train\.epochs: must be left out.*12 epochs\), got 30"),
    (
        {"arms": {"a": {"recipe": "none", "train": {"epochs": 3}}}},
        r"arms\.a\.train\.epochs: must be left out",
    ),
    ({"train": {"augment": "crop-flip"}}, r"arms\.none: train\.augment must be 'none'"),
    ({"train": {"eval_every_epochs": 2}}, r"train\.eval_every_epochs must be 1"),
    (
        {"diagnostics": {"oracle_every_epochs": 2}, "train": {**TRAIN, "held_out": 9}},
        r"oracle_every_epochs: must be 0 with \[stream\].*got 2",
    ),
    (
        {"stream": None, "diagnostics": {"ranks": True}, "arms": {"a": {"recipe": "none"}}},
        r"diagnostics\.ranks: needs a \[stream\]",
    ),
    (
        {"stream": None, "diagnostics": {"probe_steps": 3}, "arms": {"a": {"recipe": "none"}}},
        r"diagnostics\.probe_steps: needs a \[stream\]",
    ),
    ({"arms": {"two": {"recipe": "independent"}}}, r"arms\.two: trains several networks"),
    (
        {"arms": {"t": {"recipe": "none"}, "s": {"recipe": "none", "teachers": ["t"]}}},
        r"arms\.s: has teachers",
    ),
]


@pytest.mark.parametrize(("parts", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(digits_npz: Path, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(a_study(digits_npz, **parts), where="test").cells  # noqa: B018 # all is checked here


def test_a_recipe_that_waits_for_tasks_and_is_not_told_is_noticed(digits_npz: Path) -> None:
    arms = {"none": {"recipe": "none"}, "shrink": {"recipe": "shrink-perturb"}}
    for told in (False, True):
        study = a_study(digits_npz, arms=arms, stream={**STREAM, "told": told})
        noticed = any("nobody tells it" in each for each in preflight(plan(study).trials).notices)
        assert noticed is not told


LATE: list[tuple[dict[str, Any], str]] = [
    ({"stream": {**STREAM, "images": 97}}, r"stream\.images: must be at most 96"),
    ({"stream": {**MOVING, "images": 97}}, r"stream\.images: must be at most 96"),
    ({"stream": {**CLASSES["stream"], "tasks": 2}}, r"stream\.group: must be given where 3"),
    (
        {
            **CLASSES,
            "model": {"name": "convnet"},
            "arms": {"r": {"recipe": "repr", "settings": {"rank_by": "oracle"}}},
        },
        "arm r: recipe 'repr' counts right answers among all classes",
    ),
    ({"stream": None}, "arm fresh: recipe 'restart-each-task' begins anew with each task"),
]


@pytest.mark.parametrize(("parts", "message"), LATE, ids=range(len(LATE)))
def test_what_only_the_data_can_tell_is_said_before_training(
    digits_npz: Path, parts: dict[str, Any], message: str
) -> None:
    study = a_study(digits_npz, **parts)
    with pytest.raises(ConfigError, match=message):
        preflight(plan(study).trials)


def test_the_stream_is_filed_and_a_grid_may_vary_it(digits_npz: Path) -> None:
    grid: dict[str, list[Any]] = {"stream.tasks": [2, 5], "train.lr": [0.1]}
    planned = plan(a_study(digits_npz, grid=grid))
    assert [cell.study.train.epochs for cell in planned.cells] == [6, 15]
    document: Callable[[Study], Any] = lambda study: plan(study).fingerprint_document(  # noqa: E731
        data_digests={"base": "d"}
    )
    plain = document(a_study(digits_npz, stream=None, arms={"none": {"recipe": "none"}}))
    one = document(a_study(digits_npz))
    other = document(a_study(digits_npz, stream={**STREAM, "told": True}))
    assert "stream" not in plain["cells"]["base"]
    assert one["cells"]["base"]["stream"]["images"] == 40
    assert one != other
    stored = plan(a_study(digits_npz)).document
    assert a_study(digits_npz, **{key: stored[key] for key in ("stream", "train")}) is not None
