from __future__ import annotations

import dataclasses
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from crossed import crossed
from lab.alone import run_trial
from regrow.errors import RegrowWarning
from regrow.history import Renewed
from regrow.lab import data as lab_data
from regrow.lab.assembly import build_model
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.config import Overrides, load_study
from regrow.lab.data import Dataset
from regrow.lab.plan import plan
from regrow.study.document import Study
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]


def spec_of(study: Study, label: str = "none", *, train: dict[str, Any] | None = None) -> TrialSpec:
    """The first seed's trial of an arm."""
    found = next(spec for spec in plan(study).trials if spec.label == label)
    return dataclasses.replace(found, train=found.train.model_copy(update=train or {}))


def dataset_of(study: Study) -> Dataset:
    return lab_data.load(study.data.name, settings=study.data.settings)


def without_times(result: TrialResult) -> TrialResult:
    """All that must be the same bits; the time columns are not."""
    records = tuple(dataclasses.replace(record, seconds=0.0) for record in result.epochs)
    return dataclasses.replace(result, epochs=records, recipe_seconds=0.0)


def replayed(result: TrialResult) -> list[Renewed]:
    return [
        Renewed(step=record.step, layer=record.layer, filters=(record.filter,), scores=(0.0,))
        for record in result.renewals
    ]


def oracle(spec: TrialSpec, data: Dataset, *, rates: list[float], weights_of: str) -> Tensor:
    """Full-batch gradient descent, written out in float64."""
    model = build_model(spec, data, seed=spec.seed).double()
    for rate in rates:
        loss = F.cross_entropy(model(data.x_train.double()), data.y_train)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(rate * parameter.grad)
    return dict(model.named_parameters())[weights_of].detach()


class Interrupted(Exception):  # noqa: N818 # no error, an event
    """Stands for a process that is killed between two epochs."""


def stop_after(epoch: int) -> Callable[[EpochRecord], None]:
    def stop(record: EpochRecord) -> None:
        if record.epoch == epoch:
            raise Interrupted

    return stop


def trained_weights(
    spec: TrialSpec, data: Dataset, folder: Path, *, epochs: int, weights_of: str
) -> Tensor:
    """Weights after some epochs, looked up in the checkpoint."""
    file = CheckpointFile(folder / "w.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run_trial(spec, data, checkpoint=file, on_epoch=stop_after(epochs))
    state = file.load()
    assert state is not None
    return state["members"][0]["model"][weights_of]


def test_one_full_batch_epoch_is_one_step_of_gradient_descent(
    tiny_study: MakeStudy, tmp_path: Path
) -> None:
    study = tiny_study()
    data, spec = dataset_of(study), spec_of(study, train={"batch_size": 96})
    name = next(iter(dict(build_model(spec, data, seed=0).named_parameters())))
    found = trained_weights(spec, data, tmp_path, epochs=1, weights_of=name)
    expected = oracle(spec, data, rates=[0.1], weights_of=name)
    assert torch.allclose(found.double(), expected, atol=1e-6)
    start = dict(build_model(spec, data, seed=0).named_parameters())[name]
    assert not torch.allclose(found, start, atol=1e-4)


def test_a_summed_loss_is_batch_times_the_mean(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study()
    changes = {"batch_size": 96, "loss_reduction": "sum", "lr": 0.1 / 96}
    data, spec = dataset_of(study), spec_of(study, train=changes)
    name = next(iter(dict(build_model(spec, data, seed=0).named_parameters())))
    found = trained_weights(spec, data, tmp_path, epochs=1, weights_of=name)
    expected = oracle(spec, data, rates=[0.1], weights_of=name)
    assert torch.allclose(found.double(), expected, atol=1e-6)


def test_the_cosine_schedule_ends_at_zero(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study()
    data, spec = dataset_of(study), spec_of(study, train={"batch_size": 96, "schedule": "cosine"})
    name = next(iter(dict(build_model(spec, data, seed=0).named_parameters())))
    found = trained_weights(spec, data, tmp_path, epochs=2, weights_of=name)
    rates = [0.05 * (1 + math.cos(math.pi * step / 3)) for step in range(2)]
    expected = oracle(spec, data, rates=rates, weights_of=name)
    assert torch.allclose(found.double(), expected, atol=1e-6)


def test_clipping_bounds_the_step(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study()
    changes = {"batch_size": 96, "clip_grad_norm": 1e-3}
    data, spec = dataset_of(study), spec_of(study, train=changes)
    file = CheckpointFile(tmp_path / "w.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run_trial(spec, data, checkpoint=file, on_epoch=stop_after(1))
    state = file.load()
    assert state is not None
    start = build_model(spec, data, seed=0).state_dict()
    moved = sum(
        float((state["members"][0]["model"][key] - start[key]).double().square().sum())
        for key in start
    )
    assert math.sqrt(moved) == pytest.approx(0.1 * 1e-3, rel=1e-2)


def test_the_same_trial_twice_is_the_same_bits(tiny_study: MakeStudy) -> None:
    study = tiny_study(
        "randomout", settings=("randomout.confirm=gradient", "randomout.threshold=1e-3"), epochs=4
    )
    data, spec = dataset_of(study), spec_of(study, "randomout")
    first, second = (run_trial(spec, data) for _ in range(2))
    assert first.renewals
    assert without_times(first) == without_times(second)


def test_arms_of_one_seed_are_paired_until_the_recipe_acts(tiny_study: MakeStudy) -> None:
    study = tiny_study(
        "none", "randomout", settings=("randomout.confirm=gradient", "randomout.threshold=0")
    )
    data = dataset_of(study)
    plain, watched = (run_trial(spec_of(study, label), data) for label in ("none", "randomout"))
    assert not watched.renewals
    assert without_times(plain).epochs == without_times(watched).epochs


def test_seeds_differ(tiny_study: MakeStudy) -> None:
    study = tiny_study()
    one, two = (run_trial(spec, dataset_of(study)) for spec in plan(study).trials)
    assert one.epochs[0].train_loss != two.epochs[0].train_loss


@pytest.mark.parametrize(("label", "optimizer"), crossed(["randomout", "restart"], ["sgd", "adam"]))
def test_an_interrupted_trial_goes_on_bit_for_bit(
    tiny_study: MakeStudy, tmp_path: Path, optimizer: str, label: str
) -> None:
    settings = ("randomout.confirm=gradient", "randomout.threshold=3e-2", "restart.check_epochs=1")
    study = tiny_study("randomout", "restart", settings=settings, epochs=5)
    momentum = 0.9 if optimizer == "sgd" else 0.0
    rate = 1e-6 if label == "restart" else 0.01  # too small to learn anything: stuck
    changes = {"optimizer": optimizer, "momentum": momentum, "lr": rate}
    data, spec = dataset_of(study), spec_of(study, label, train=changes)
    whole = run_trial(spec, data)
    assert whole.renewals or whole.restarts

    def file() -> CheckpointFile:
        return CheckpointFile(tmp_path / "a.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)

    for epoch in (1, 3):
        with pytest.raises(Interrupted):
            run_trial(spec, data, checkpoint=file(), on_epoch=stop_after(epoch))
    seen: list[int] = []
    resumed = run_trial(
        spec, data, checkpoint=file(), on_epoch=lambda record: seen.append(record.epoch)
    )
    assert seen == [4, 5]
    assert without_times(resumed) == without_times(whole)


class _Noisy(nn.Module):
    """A network whose training draws from torch's global generator."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def noisy_net(*, in_channels: int, image_size: tuple[int, int], classes: int) -> nn.Module:
    del in_channels, image_size
    return _Noisy(classes)


@pytest.fixture
def noisy_spec(tiny_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> tuple[TrialSpec, Dataset]:
    module = types.ModuleType("noisy_nets")
    module.make = noisy_net
    monkeypatch.setitem(sys.modules, "noisy_nets", module)
    study = tiny_study()
    spec = spec_of(study, train={"epochs": 4})
    choice = spec.model.model_copy(update={"name": "noisy_nets:make", "settings": {}})
    return dataclasses.replace(spec, model=choice), dataset_of(study)


def test_dropout_is_the_same_after_an_interruption(
    noisy_spec: tuple[TrialSpec, Dataset], tmp_path: Path
) -> None:
    spec, data = noisy_spec
    whole = run_trial(spec, data)
    file = CheckpointFile(tmp_path / "a.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run_trial(spec, data, checkpoint=file, on_epoch=stop_after(2))
    torch.rand(7)
    assert without_times(run_trial(spec, data, checkpoint=file)) == without_times(whole)


def test_the_global_generator_is_left_alone(noisy_spec: tuple[TrialSpec, Dataset]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    run_trial(*noisy_spec)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_damaged_checkpoint_is_reported_and_the_trial_starts_anew(
    tiny_study: MakeStudy, tmp_path: Path
) -> None:
    study = tiny_study()
    data, spec = dataset_of(study), spec_of(study)
    file = CheckpointFile(tmp_path / "a.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run_trial(spec, data, checkpoint=file, on_epoch=stop_after(1))
    file.path.write_bytes(file.path.read_bytes()[:-100])
    with pytest.warns(RegrowWarning, match="the trial starts anew"):
        found = run_trial(spec, data, checkpoint=file)
    assert without_times(found) == without_times(run_trial(spec, data))


def test_a_checkpoint_of_a_network_that_has_changed_is_set_aside(
    tiny_study: MakeStudy, tmp_path: Path
) -> None:
    study = tiny_study()
    data, spec = dataset_of(study), spec_of(study)
    file = CheckpointFile(tmp_path / "a.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run_trial(spec, data, checkpoint=file, on_epoch=stop_after(1))
    wider = spec.model.model_copy(update={"settings": {**spec.model.settings, "dense": 9}})
    changed = dataclasses.replace(spec, model=wider)
    with pytest.warns(RegrowWarning, match="does not fit the trial"):
        assert len(run_trial(changed, data, checkpoint=file).epochs) == 3


def test_a_control_repeats_steps_layers_and_counts(tiny_study: MakeStudy) -> None:
    settings = (
        "randomout.confirm=gradient",
        "randomout.threshold=0.3",
        "randomout.active_fraction=1.0",
    )
    study = tiny_study("randomout", "random", settings=settings, epochs=4)
    data = dataset_of(study)
    tested = run_trial(spec_of(study, "randomout"), data)
    control = run_trial(spec_of(study, "random"), data, like=replayed(tested))

    def places(result: TrialResult) -> list[tuple[int, str]]:
        return sorted((record.step, record.layer) for record in result.renewals)

    assert len(tested.renewals) > 5
    assert places(control) == places(tested)
    assert [r.filter for r in control.renewals] != [r.filter for r in tested.renewals]


def test_a_trial_that_blows_up_stops_and_is_measured(tiny_study: MakeStudy) -> None:
    study = tiny_study()
    data = dataset_of(study)
    found = run_trial(spec_of(study, train={"lr": 1e30, "epochs": 9}), data)
    assert found.status == "diverged"
    assert len(found.epochs) == 1
    assert found.last is not None
    assert (found.last.train_loss, found.last.test_loss) == (None, None)
    assert found.last.test_accuracy == 0.0
    assert found.steps == 6


def blank(epochs: int = 10, **settings: int) -> tuple[TrialSpec, Dataset]:
    """Images without content: no network can beat the majority class."""
    told = tuple(f"restart.{key}={value}" for key, value in settings.items())
    study = load_study(
        None,
        Overrides(
            data="digits",
            recipes=("restart",),
            settings=("model.filters=2", "model.dense=4", *told),
            train={"epochs": epochs, "batch_size": 10},
        ),
    )
    y = torch.tensor([0, 0, 0, 1] * 5)
    data = Dataset(
        name="blank",
        x_train=torch.zeros(20, 1, 8, 8),
        y_train=y,
        x_test=torch.zeros(20, 1, 8, 8),
        y_test=y,
        classes=("a", "b"),
    )
    return plan(study).trials[0], data


def test_a_stuck_network_is_redrawn_at_each_check_but_the_last() -> None:
    spec, data = blank(epochs=9, check_epochs=3)
    found = run_trial(spec, data)
    assert found.restarts == 2
    assert len(found.epochs) == 9
    assert found.majority_share == 0.75


def test_restarts_can_be_limited() -> None:
    assert run_trial(*blank(epochs=9, check_epochs=1, max_restarts=2)).restarts == 2
    assert run_trial(*blank(epochs=9, check_epochs=1, max_restarts=0)).restarts == 0


def test_a_network_that_learns_is_not_redrawn(tiny_study: MakeStudy) -> None:
    study = tiny_study("restart", "none", settings=("restart.check_epochs=4",), epochs=9)
    data = dataset_of(study)
    found, plain = (run_trial(spec_of(study, label), data) for label in ("restart", "none"))
    assert plain.last is not None
    assert plain.last.train_accuracy > 0.9
    assert found.restarts == 0
    assert without_times(found).epochs == without_times(plain).epochs


def test_a_restart_draws_other_weights_and_saves_a_network_that_blew_up(
    tiny_study: MakeStudy,
) -> None:
    study = tiny_study("restart", settings=("restart.check_epochs=2",), epochs=4)
    data = dataset_of(study)
    found = run_trial(spec_of(study, "restart", train={"lr": 1e30}), data)
    assert found.restarts == 1
    assert [record.train_loss for record in found.epochs[:2]] == [None, None]
    assert found.status == "diverged"
    assert len(found.epochs) == 3


def test_evaluation_at_intervals_and_at_the_end(tiny_study: MakeStudy) -> None:
    study = tiny_study()
    spec = spec_of(study, train={"epochs": 5, "eval_every_epochs": 2})
    found = run_trial(spec, dataset_of(study))
    assert [r.epoch for r in found.epochs if r.test_accuracy is not None] == [2, 4, 5]
    spec = spec_of(study, train={"epochs": 6, "eval_every_epochs": 2, "eval_last_epochs": 3})
    found = run_trial(spec, dataset_of(study))
    assert [r.epoch for r in found.epochs if r.test_accuracy is not None] == [2, 4, 5, 6]
