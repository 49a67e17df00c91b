"""Trials that learn a number, one example a step: against a loop written out, interrupted, in any engine; refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from crossed import crossed
from lab.alone import run_trial
from lab.sharing.running import go, tables
from lab.test_streams import in_pieces, networks, spec_of
from lab.test_trial import dataset_of, without_times
from regrow.errors import ConfigError
from regrow.lab.config import Overrides, load_plan
from regrow.lab.data import Dataset
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.lab.trial import Request, train_together
from regrow.streams import tasks
from regrow.study.document import EngineName, Study, check_document
from regrow.study.records import TrialResult
from regrow.study.trials import TrialSpec

ARMS: dict[str, dict[str, Any]] = {
    "none": {"recipe": "none"},
    "fresh": {"recipe": "restart-each-task"},
    "cbp": {"recipe": "continual-backprop", "settings": {"rate": 0.02, "maturity": 10}},
    "random": {"recipe": "random", "like": "cbp"},
}
STREAM = {"kind": "bit-flipping", "tasks": 3, "examples": 30}
TRAIN = {"batch_size": 1, "optimizer": "sgd", "lr": 0.01}


def a_study(**parts: Any) -> Study:
    base: dict[str, Any] = {
        "name": "bits",
        "model": {"name": "mlp", "settings": {"depth": 1, "width": 5}},
        "stream": STREAM,
        "train": TRAIN,
        "arms": ARMS,
        "seeds": [0],
    }
    return check_document({**base, **parts}, where="test")


def completed(study: Study) -> Study:
    return plan(study).cells[0].study


def data_of(study: Study) -> Dataset:
    return dataset_of(completed(study))


def written_out(spec: TrialSpec, data: Dataset) -> list[tuple[float, float]]:
    """Online error of each task, and the error when it ends, in a loop that anybody would write."""
    stream, found = spec.stream, list[tuple[float, float]]()
    assert stream is not None
    size = spec.train.batch_size
    for index, (model, optimizer) in enumerate(networks(spec, data)):
        task = tasks.task(stream, data, seed=spec.seed, index=index)
        errors: list[float] = []
        for x, y in zip(task.images.split(size), task.labels.split(size), strict=True):
            apart = model(x)[:, 0] - y
            errors += apart.detach().double().square().tolist()
            optimizer.zero_grad()
            apart.square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            end = (model(task.test_images)[:, 0] - task.test_labels).double().square().mean()
        found.append((sum(errors) / len(errors), float(end)))
    return found


@pytest.mark.parametrize(
    ("engine", "label", "size"), crossed(["modules", "stack"], ["none", "fresh"], [1, 7])
)
def test_a_stream_is_trained_as_in_a_loop_written_out(
    engine: EngineName, label: str, size: int
) -> None:
    study = a_study(train={**TRAIN, "batch_size": size})
    spec, data = spec_of(study, label), data_of(study)
    result = run_trial(spec, data, engine=engine)
    expected = written_out(spec, data)
    assert len(result.tasks) == len(expected) == 3
    for record, (online, end) in zip(result.tasks, expected, strict=True):
        assert record.online_loss == pytest.approx(online, rel=1e-4)
        assert record.loss == pytest.approx(end, rel=1e-4)
        assert (record.online_accuracy, record.accuracy) == (None, None)
    assert (result.accuracy, result.majority_share) == (None, None)
    assert result.number == result.judged_loss == result.tasks[-1].online_loss
    row = result.row(finished_at="now")
    assert (row.test_accuracy, row.train_accuracy) == (None, None)
    assert row.test_loss == result.judged_loss
    assert all(each.train_accuracy is None for each in result.epochs)


def test_what_is_looked_at_in_units_takes_numbers_too() -> None:
    study = a_study(diagnostics={"ranks": True}, arms={"none": ARMS["none"]})
    result = run_trial(spec_of(study, "none"), data_of(study))
    assert [each.task for each in result.health] == [1, 2, 3]
    assert all(each.step is not None and each.step > 0 for each in result.health)
    assert all(each.effective_rank is not None for each in result.health)


@pytest.mark.parametrize("engine", ["modules", "stack"])
def test_it_goes_on_in_mid_stream_bit_for_bit(tmp_path: Path, engine: EngineName) -> None:
    """A task of which flips take place within it, too."""
    study = a_study(stream={**STREAM, "flip_every": 13}, arms={"cbp": ARMS["cbp"]})
    spec, data = spec_of(study, "cbp"), data_of(study)
    whole = run_trial(spec, data, engine=engine)
    assert whole.renewals
    pieces = in_pieces(spec, data, tmp_path, [1, 2], engine=engine)
    assert without_times(pieces) == without_times(whole)


def test_what_a_trial_gets_is_the_same_alone_and_beside_others() -> None:
    """Seeds and rates share a stack or not."""
    study = a_study(seeds=[0, 1], grid={"train.lr": [0.01, 0.02]})
    specs = [spec for spec in plan(study).trials if spec.label == "cbp"]
    found: dict[str, TrialResult] = {}
    train_together(
        [Request(specs=(spec,)) for spec in specs],
        data_of(study),
        engine="stack",
        on_fork=lambda _: None,
        on_epoch=lambda *_: None,
        on_end=lambda results: found.update({each.trial: each for each in results}),
    )
    assert len(found) == 4
    for spec in specs:
        alone = run_trial(spec, data_of(study), engine="stack")
        assert without_times(alone) == without_times(found[spec.trial])


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    study = a_study(seeds=[0, 1], grid={"train.lr": [0.01, 0.02]})
    rows = [
        tables(go(study, tmp_path / str(jobs), engine="stack", jobs=jobs).folder) for jobs in (1, 2)
    ]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_more_seeds_go_on_where_fewer_ended(tmp_path: Path) -> None:
    go(a_study(), tmp_path / "pieces", engine="stack")
    pieces = go(a_study(seeds=[0, 1]), tmp_path / "pieces", engine="stack")
    whole = go(a_study(seeds=[0, 1]), tmp_path / "whole", engine="stack")
    assert tables(pieces.folder) == tables(whole.folder)
    assert len(tables(whole.folder)["trials"]) == 2 * len(ARMS)


@pytest.mark.parametrize("engine", ["modules", "stack"])
def test_tasks_that_a_diverged_trial_did_not_reach_count_as_unanswered(engine: EngineName) -> None:
    study = a_study(train={**TRAIN, "lr": 1e20})
    spec, data = spec_of(study, "none"), data_of(study)
    diverged = run_trial(spec, data, engine=engine)
    assert diverged.status == "diverged"
    assert len(diverged.tasks) < 3
    assert spec.stream is not None
    last = tasks.task(spec.stream, data, seed=spec.seed, index=2)
    assert diverged.number == pytest.approx(float((last.labels.double() ** 2).mean()))
    assert math.isfinite(diverged.number or math.nan)


@pytest.mark.parametrize(
    "recipe", ["redo", "randomout", "keepalive", "regrama", "l2-init", "self-normalized-resets"]
)
def test_recipes_are_tried_with_numbers(recipe: str) -> None:
    """What is measured on data is measured by the squared error: nothing takes numbers for classes."""
    found = preflight(plan(a_study(arms={recipe: {"recipe": recipe}})).trials)
    assert (len(found.data_digests), found.refusal) == (1, "")


def test_a_ranking_by_right_answers_is_told_that_there_are_none() -> None:
    study = a_study(arms={"a": {"recipe": "repr", "settings": {"rank_by": "oracle"}}})
    with pytest.raises(ConfigError, match=r"arm a: accuracy needs .* class numbers"):
        preflight(plan(study).trials)


def test_the_data_set_is_that_of_the_stream() -> None:
    study = a_study(stream={**STREAM, "bits": 8, "flipping": 4})
    whole = completed(study)
    assert (whole.data.name, whole.data.settings) == ("bits", {"bits": 8})
    assert tuple(data_of(study).x_train.shape[1:]) == (1, 1, 8)
    # As it is stored, it is read again.
    stored = plan(study).document
    assert check_document(stored, where="stored").data == whole.data
    # A grid may vary the number of bits.
    cells = plan(a_study(stream={**STREAM, "flipping": 3}, grid={"stream.bits": [5, 9]})).cells
    assert [cell.study.data.settings for cell in cells] == [{"bits": 5}, {"bits": 9}]


def test_the_study_file_needs_no_data(tmp_path: Path) -> None:
    file = tmp_path / "bits.toml"
    file.write_text(
        'name = "bits"\n[model]\nname = "mlp"\n[stream]\nkind = "bit-flipping"\ntasks = 2\n'
        '[arms.none]\nrecipe = "none"\n'
    )
    found = load_plan(file, Overrides(settings=("stream.examples=5",))).study
    assert (found.data.name, found.train.epochs) == ("bits", 2)
    with pytest.raises(ConfigError, match="makes its own examples, got 'digits'"):
        load_plan(file, Overrides(data="digits"))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"data": {"name": "digits"}}, "must be left out, .* makes its own examples, got 'digits'"),
        (
            {"data": {"name": "bits"}, "stream": {"kind": "permuted", "tasks": 2, "epochs": 1}},
            r"'bits' is for \[stream\] kind 'bit-flipping'",
        ),
        ({"data": {"name": "bits", "settings": {"bits": 3}}}, r"stream\.bits says .* got bits = 3"),
        ({"diagnostics": {"probe_steps": 5}}, r"probe_steps: must be 0 with .* got 5"),
        ({"stream": {**STREAM, "steps": 5}}, "said by examples, .* got 5"),
        ({"stream": {**STREAM, "flipping": 21}}, r"flipping must be at most bits \(20\), got 21"),
        ({"stream": {**STREAM, "form": "paper"}}, "form"),
        ({"train": {**TRAIN, "held_out": 5}}, r"train\.held_out must be 0 .* got 5"),
        ({"arms": {"a": {"recipe": "restart"}}}, "'restart' begins anew where .* no classes"),
        ({"arms": {"a": {"recipe": "independent"}}}, "trains several networks"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_trained(
    parts: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        _ = plan(a_study(**parts)).cells


def classifier(*, in_channels: int, image_size: tuple[int, int], classes: int) -> nn.Module:
    """A network that gives three scores, whatever it is asked."""
    del in_channels, classes
    return nn.Sequential(nn.Flatten(), nn.Linear(image_size[0] * image_size[1], 3))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("lab.test_bit_flipping:classifier", "must return one number"),
        ("cratercnn", "cratercnn"),
    ],
)
def test_networks_that_do_not_fit_are_told(model: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        preflight(plan(a_study(model={"name": model}, arms={"none": ARMS["none"]})).trials)
