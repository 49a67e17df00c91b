"""Gains set by data before the first step of a trial: paired, repeatable, and done once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossed import crossed, seldom
from lab.alone import run_trial
from regrow.lab import data as lab_data
from regrow.lab.assembly import START_IMAGES, build_model, epoch_order
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.data import Dataset
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.nn import GainControl2d
from regrow.study.document import Study
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]

ON = ("model.norm=gain_control", "model.start_gain=true")
OFF = ("model.norm=gain_control",)


class Interrupted(Exception):  # noqa: N818 # no error, an event
    """Stands for a process that is killed between two epochs."""


def load(study: Study) -> Dataset:
    return lab_data.load(study.data.name, settings=study.data.settings)


def spec_of(study: Study, label: str = "none", **train: Any) -> TrialSpec:
    found = next(spec for spec in plan(study).trials if spec.label == label)
    return dataclasses.replace(found, train=found.train.model_copy(update=train))


def gains(model: nn.Module) -> list[Tensor]:
    return [layer.gains() for layer in model.modules() if isinstance(layer, GainControl2d)]


def same(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def without_times(result: TrialResult) -> TrialResult:
    records = tuple(dataclasses.replace(record, seconds=0.0) for record in result.epochs)
    return dataclasses.replace(result, epochs=records, recipe_seconds=0.0)


def stop_after(epoch: int) -> Callable[[EpochRecord], None]:
    def stop(record: EpochRecord) -> None:
        if record.epoch == epoch:
            raise Interrupted

    return stop


def saved_states(
    spec: TrialSpec, data: Dataset, folder: Path, *stops: int
) -> list[list[dict[str, Tensor]]]:
    """The networks of a trial that is interrupted again and again, as they were each time."""
    found: list[list[dict[str, Tensor]]] = []
    folder.mkdir(exist_ok=True)
    for epoch in stops:
        file = CheckpointFile(folder / "a.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
        with pytest.raises(Interrupted):
            run_trial(spec, data, checkpoint=file, on_epoch=stop_after(epoch))
        state = file.load()
        assert state is not None
        found.append([member["model"] for member in state["members"]])
    return found


def test_every_map_starts_with_unit_deviation_on_the_first_images(tiny_study: MakeStudy) -> None:
    study = tiny_study(settings=ON)
    data, spec = load(study), spec_of(study)
    model = build_model(spec, data, seed=spec.seed)
    seen: list[Tensor] = []
    for layer in model.modules():
        if isinstance(layer, GainControl2d):
            layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    order = epoch_order(spec.seed, epoch=1, examples=len(data.x_train))
    with torch.no_grad():
        model(data.x_train[order[:START_IMAGES]])
    assert len(seen) == 2
    for output in seen:
        deviation = output.std(dim=(0, 2, 3), correction=0)
        torch.testing.assert_close(deviation, torch.ones(3), rtol=1e-3, atol=0)


def test_only_the_gains_differ_from_a_network_without_it(tiny_study: MakeStudy) -> None:
    data = load(tiny_study())
    one, two = (
        build_model(spec_of(tiny_study(settings=told)), data, seed=0).state_dict()
        for told in (ON, OFF)
    )
    assert list(one) == list(two)
    changed = {key.rpartition(".")[2] for key in one if not torch.equal(one[key], two[key])}
    assert changed == {"gain", "start_gain"}


def test_it_depends_on_the_seed_and_on_nothing_else_of_the_training(
    tiny_study: MakeStudy,
) -> None:
    study = tiny_study("none", "randomout", settings=ON)
    data = load(study)
    first = gains(build_model(spec_of(study), data, seed=0))
    assert same(first, gains(build_model(spec_of(study, "randomout"), data, seed=0)))
    assert same(first, gains(build_model(spec_of(study, batch_size=1), data, seed=0)))
    assert same(first, gains(build_model(spec_of(study, augment="crop-flip"), data, seed=0)))
    assert not same(first, gains(build_model(spec_of(study), data, seed=1)))


def test_it_looks_at_a_few_images_of_the_training_set_alone(
    tiny_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(settings=ON)
    data, spec = load(study), spec_of(study)
    other = dataclasses.replace(data, x_test=data.x_test + 1.0)
    assert same(gains(build_model(spec, data, seed=0)), gains(build_model(spec, other, seed=0)))
    monkeypatch.setattr("regrow.lab.assembly.START_IMAGES", 8)
    images = data.x_train.clone()
    images[epoch_order(0, epoch=1, examples=len(images))[8:]] += 1.0
    few = gains(build_model(spec, data, seed=0))
    changed = dataclasses.replace(data, x_train=images)
    assert same(few, gains(build_model(spec, changed, seed=0)))


def test_it_draws_no_random_numbers_and_leaves_the_network_in_training_mode(
    tiny_study: MakeStudy,
) -> None:
    study = tiny_study(settings=ON)
    data, spec = load(study), spec_of(study)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    model = build_model(spec, data, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("recipe", "learn"),
    crossed(
        seldom(["none", "randomout", "restart"], often=["randomout", "restart"]), ["all", "bias"]
    ),
)
def test_an_interrupted_trial_goes_on_bit_for_bit(
    tiny_study: MakeStudy, tmp_path: Path, recipe: str, learn: str
) -> None:
    told = {
        "none": (),
        "randomout": (
            "randomout.confirm=gradient",
            "randomout.threshold=0.3",
            "randomout.active_fraction=1.0",
        ),
        "restart": ("restart.check_epochs=1",),
    }
    settings = (*ON, f"model.gain_control_learn={learn}", *told[recipe])
    study = tiny_study(recipe, settings=settings, epochs=4)
    rate = 1e-6 if recipe == "restart" else 0.05  # too small to learn anything: stuck
    data, spec = load(study), spec_of(study, recipe, lr=rate)
    whole = run_trial(spec, data)
    assert bool(whole.renewals) == (recipe == "randomout")
    assert bool(whole.restarts) == (recipe == "restart")
    saved_states(spec, data, tmp_path, 1, 3)
    file = CheckpointFile(tmp_path / "a.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    seen: list[int] = []
    resumed = run_trial(
        spec, data, checkpoint=file, on_epoch=lambda record: seen.append(record.epoch)
    )
    assert seen == [4]
    assert without_times(resumed) == without_times(whole)


def test_what_was_learnt_is_not_set_again(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study(settings=ON, epochs=4)
    data, spec = load(study), spec_of(study)
    start = build_model(spec, data, seed=spec.seed).state_dict()
    # Stopped after the first epoch, and again after the third: by then it has been built twice and loaded once.
    after = [states[0] for states in saved_states(spec, data, tmp_path / "stops", 1, 3)]
    uninterrupted = saved_states(spec, data, tmp_path / "whole", 3)[0][0]
    for key in ("norm1.gain", "norm2.gain"):
        assert not torch.equal(after[0][key], start[key])
        assert not torch.equal(after[1][key], after[0][key])
    assert all(torch.equal(after[1][key], uninterrupted[key]) for key in uninterrupted)


def test_each_of_several_networks_has_its_own_and_the_first_is_paired(
    tiny_study: MakeStudy, tmp_path: Path
) -> None:
    study = tiny_study("none", "independent", settings=ON)
    data = load(study)
    alone, several = (
        saved_states(spec_of(study, label), data, tmp_path / label, 1)[0]
        for label in ("none", "independent")
    )
    assert len(several) == 2
    assert all(torch.equal(alone[0][key], several[0][key]) for key in alone[0])
    assert not torch.equal(several[0]["norm1.start_gain"], several[1]["norm1.start_gain"])


def test_a_study_with_start_gain_passes_the_preflight(tiny_study: MakeStudy) -> None:
    assert preflight(plan(tiny_study("none", "independent", settings=ON)).trials).data_digests
