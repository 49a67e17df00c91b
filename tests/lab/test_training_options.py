"""Options of a training: augmentation, held-out images, the overlap penalty, the memory format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from lab.alone import run_trial
from regrow.errors import ConfigError
from regrow.lab import data as lab_data
from regrow.lab.assembly import build_model
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.data import Dataset
from regrow.lab.data.dataset import hold_out
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.study.document import Study
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]


def load(study: Study) -> Dataset:
    return lab_data.load(study.data.name, settings=study.data.settings)


def spec_of(study: Study, label: str = "none", **train: Any) -> TrialSpec:
    found = next(spec for spec in plan(study).trials if spec.label == label)
    return dataclasses.replace(found, train=found.train.model_copy(update=train))


def curve(result: TrialResult) -> list[tuple[float | None, float, float | None]]:
    return [
        (epoch.train_loss, epoch.train_accuracy, epoch.test_accuracy) for epoch in result.epochs
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"augment": "crop-flip"},
        {"held_out": 20},
        {"overlap_penalty": 0.1},
        {"channels_last": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_option_changes_the_training_and_repeats_bit_for_bit_after_an_interruption(
    tiny_study: MakeStudy, tmp_path: Path, options: dict[str, Any]
) -> None:
    study = tiny_study(
        "randomout", "none", settings=("randomout.confirm=gradient", "randomout.threshold=1e-2")
    )
    data, spec = load(study), spec_of(study, "randomout", **options)
    plain = run_trial(spec_of(study, "randomout"), data)
    whole = run_trial(spec, data)
    if "channels_last" in options:  # another order of summation
        assert whole.epochs[0].train_loss == pytest.approx(plain.epochs[0].train_loss, rel=1e-3)
    else:
        assert curve(whole) != curve(plain)

    class Stopped(Exception):  # noqa: N818 # no error, an event
        pass

    def stop(record: EpochRecord) -> None:
        if record.epoch == 2:
            raise Stopped

    file = CheckpointFile(tmp_path / "a.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Stopped):
        run_trial(spec, data, checkpoint=file, on_epoch=stop)
    assert curve(run_trial(spec, data, checkpoint=file)) == curve(whole)


def test_augmented_arms_of_one_seed_see_the_same_images(tiny_study: MakeStudy) -> None:
    study = tiny_study(
        "none", "randomout", settings=("randomout.confirm=gradient", "randomout.threshold=0")
    )
    data = load(study)
    plain, watched = (
        run_trial(spec_of(study, label, augment="crop-flip"), data)
        for label in ("none", "randomout")
    )
    assert not watched.renewals
    assert curve(plain) == curve(watched)


def test_held_out_images_are_not_trained_on(tiny_study: MakeStudy) -> None:
    study = tiny_study()
    data, spec = load(study), spec_of(study, held_out=16)
    rest = hold_out(data, 16)
    assert curve(run_trial(spec, data)) == curve(run_trial(spec_of(study), rest))
    assert run_trial(spec, data).steps == 3 * 5  # 80 of 96 images in batches of 16


def test_the_overlap_penalty_is_part_of_the_gradient_and_not_of_the_loss_that_is_told(
    tiny_study: MakeStudy,
) -> None:
    study = tiny_study(epochs=1)
    data, spec = load(study), spec_of(study, overlap_penalty=0.3, batch_size=96)
    model = build_model(spec, data, seed=spec.seed).double()
    loss = F.cross_entropy(model(data.x_train.double()), data.y_train)
    penalty = torch.zeros((), dtype=torch.float64)
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    for module in convs:
        rows = F.normalize(module.weight.flatten(1), dim=1)
        penalty = penalty + (rows @ rows.mT - torch.eye(len(rows))).abs().sum()
    (loss + 0.3 * penalty).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.data -= spec.train.lr * parameter.grad
    result = run_trial(spec, data)
    assert result.epochs[0].train_loss == pytest.approx(loss.item(), rel=1e-5)
    model.eval()
    after = F.cross_entropy(model(data.x_test.double()), data.y_test)
    assert result.epochs[0].test_loss == pytest.approx(after.item(), rel=1e-5)
    unpunished = run_trial(spec_of(study, batch_size=96), data)
    assert unpunished.epochs[0].test_loss != pytest.approx(after.item(), rel=1e-5)


def test_holding_out_too_much_is_told_before_training(
    tiny_study: MakeStudy, tmp_path: Path
) -> None:
    study = tiny_study(settings=("train.held_out=96",))
    with pytest.raises(ConfigError, match=r"held_out: .* 96 of 96 leave none of class '0'"):
        preflight(plan(study).trials, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("train.augment=flip", "must be one of 'none' or 'crop-flip', got 'flip'"),
        ("train.held_out=-1", "train.held_out: must be at least 0, got -1"),
        ("train.overlap_penalty=-0.1", "train.overlap_penalty: must be at least 0, got -0.1"),
        ("train.channels_last=1", "train.channels_last: must be true or false, got 1"),
    ],
)
def test_wrong_values_are_one_line(tiny_study: MakeStudy, setting: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        tiny_study(settings=(setting,))
