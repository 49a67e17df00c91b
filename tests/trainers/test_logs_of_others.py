"""TensorBoard, Weights & Biases and MLflow get the numbers, and their failures stop nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from regrow.errors import RegrowWarning
from trainers import kit


def _train(log: Any) -> tuple[dict[int, float], regrow.Report, nn.Module]:
    """With what a log that is a function of ours has got of the renewals, by step."""
    expected: dict[int, float] = {}

    class Both:
        def write(self, step: int, values: Mapping[str, float]) -> None:
            expected[step] = values["regrow/renewed"]
            log.write(step, values)

    model = kit.Network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    regrower = regrow.attach(
        kit.often(),
        model,
        optimizer,
        example_inputs=kit.IMAGES[:2],
        total_steps=6,
        log=Both() if log is not None else None,
        log_every=3,
    )
    for images, labels in kit.Batches():
        optimizer.zero_grad()
        kit.loss(model(images), labels).backward()
        optimizer.step()
    assert regrower.report.renewed > 0
    return expected, regrower.report, model


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from regrow.logs import TensorBoardLog

    expected, _, _ = _train(TensorBoardLog(tmp_path))
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert {each.step: each.value for each in read.Scalars("regrow/renewed")} == expected


def _closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run of Weights & Biases that has ended before the training."""
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(dir=str(tmp_path), project="closed", mode="offline")
    run.finish()
    from regrow.logs import WandbLog

    return WandbLog(run)


def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    from regrow.logs import WandbLog

    run = wandb.init(dir=str(tmp_path), project="regrow", mode="offline")
    expected, report, _ = _train(WandbLog())
    assert run.summary["regrow/renewed"] == report.renewed
    assert run.summary["regrow/step"] == max(expected)
    run.finish()
    assert list(
        tmp_path.rglob("*.wandb")
    )  # its content is written by another process, in its own time


def test_a_closed_run_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _closed(tmp_path, monkeypatch)
    with pytest.warns(RegrowWarning, match="has failed at step"):
        _, report, model = _train(log)
    _, plain, same = _train(None)
    assert report.events == plain.events
    assert all(map(torch.equal, model.parameters(), same.parameters()))


def test_weights_and_biases_without_a_run() -> None:
    pytest.importorskip("wandb")
    from regrow.logs import WandbLog

    with pytest.warns(RegrowWarning, match=r"no run is open: call wandb.init\(\)"):
        _train(WandbLog())


@pytest.mark.parametrize("by", ["the run that is open", "its id", "a client"])
def test_mlflow(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow")
    from regrow.logs import MLflowLog

    with kit.quietly():
        client = mlflow.MlflowClient(f"file:{tmp_path}/store")
        mlflow.set_tracking_uri(f"file:{tmp_path}/store")
        with mlflow.start_run() as run:
            name = run.info.run_id
            log = {
                "the run that is open": MLflowLog,
                "its id": lambda: MLflowLog(name),
                "a client": lambda: MLflowLog(name, client=client),
            }[by]()
            expected, _, _ = _train(log)
        history = client.get_metric_history(name, "regrow/renewed")
    assert {each.step: each.value for each in history} == expected


def test_mlflow_takes_the_names_of_a_studys_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    from regrow.logs import MLflowLog

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(f"file:{tmp_path}/store")
    run = client.create_run(client.create_experiment("study")).info.run_id
    MLflowLog(run, client=client).write(2, {"regrow/train.lr=0.1/none/seed0/test_loss": 0.5})
    (found,) = client.get_metric_history(run, "regrow/train.lr_0.1/none/seed0/test_loss")
    assert (found.step, found.value) == (2, 0.5)
