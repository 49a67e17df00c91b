"""Trials with several networks: grafted, apart, and what they are worth together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

import regrow
from crossed import seldom
from lab.alone import run_trial
from regrow.errors import ConfigError
from regrow.lab import data as lab_data
from regrow.lab.assembly import build_model
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.config import Overrides, load_study
from regrow.lab.data import Dataset
from regrow.lab.engines.modules import ModuleEngine
from regrow.lab.member import Member, partner_rate
from regrow.lab.plan import plan
from regrow.study.document import Study, Training
from regrow.study.generator_keys import generator_key, partner_seed
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec


@pytest.fixture
def make(digits_npz: Path) -> Callable[..., Study]:
    """A small study of convolutions with batch norm."""

    def make(*recipes: str, settings: tuple[str, ...] = (), epochs: int = 3) -> Study:
        small = ("model.depth=2", "model.width=4", "model.norm=batch", "train.momentum=0.9")
        return load_study(
            None,
            Overrides(
                data=f"npz:{digits_npz}",
                model="convnet",
                recipes=recipes,
                settings=(*small, *settings),
                seeds=1,
                train={"epochs": epochs, "batch_size": 16, "lr": 0.1},
            ),
        )

    return make


def spec_of(study: Study, label: str) -> TrialSpec:
    return next(spec for spec in plan(study).trials if spec.label == label)


def dataset_of(study: Study) -> Dataset:
    return lab_data.load(study.data.name, settings=study.data.settings)


def without_times(result: TrialResult) -> TrialResult:
    records = tuple(dataclasses.replace(record, seconds=0.0) for record in result.epochs)
    return dataclasses.replace(result, epochs=records, recipe_seconds=0.0)


def by_hand(
    spec: TrialSpec, data: Dataset, *, partners: int, settings: dict[str, Any]
) -> tuple[list[torch.nn.Module], regrow.Grafter]:
    """The networks of a grafting trial, trained by a loop of our own."""
    steps = math.ceil(len(data.x_train) / 16)
    seeds = [partner_seed(spec.seed, place) for place in range(partners)]
    models = [build_model(spec, data, seed=seed) for seed in seeds]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9) for each in models]
    grafter = regrow.attach_partners(
        regrow.FilterGrafting(partners=partners, **settings),
        models,
        optimizers,
        example_inputs=data.x_train[:2],
        steps_per_epoch=steps,
        total_steps=steps * spec.train.epochs,
    )
    for epoch in range(1, spec.train.epochs + 1):
        for seed, model, optimizer in zip(seeds, models, optimizers, strict=True):
            torch.manual_seed(generator_key("noise", seed, epoch))
            generator = torch.Generator().manual_seed(generator_key("order", seed, epoch))
            for batch in torch.randperm(len(data.x_train), generator=generator).split(16):
                optimizer.zero_grad()
                F.cross_entropy(model.train()(data.x_train[batch]), data.y_train[batch]).backward()
                optimizer.step()
    return models, grafter


def test_a_grafting_trial_is_a_loop_with_attach_partners(make: Callable[..., Study]) -> None:
    study = make("grafting", settings=("grafting.partners=3", "grafting.memory=graft"))
    spec, data = spec_of(study, "grafting"), dataset_of(study)
    result = run_trial(spec, data)
    models, grafter = by_hand(spec, data, partners=3, settings={"memory": "graft"})
    accuracies = [
        float((model.eval()(data.x_test).argmax(1) == data.y_test).float().mean())
        for model in models
    ]
    last = [record for record in result.partners if record.epoch == spec.train.epochs]
    assert [record.test_accuracy for record in last] == pytest.approx(accuracies)
    assert len(set(accuracies)) > 1
    assert result.last is not None
    assert result.last.test_accuracy == pytest.approx(sum(accuracies) / 3)
    assert [record.share for record in result.grafts] == [
        event.share for event in grafter.report.events
    ]
    assert {record.epoch for record in result.grafts} == {
        1,
        2,
    }  # nobody would train after the third


def test_the_first_of_independent_networks_is_the_one_that_other_arms_train(
    make: Callable[..., Study],
) -> None:
    study = make("none", "independent", settings=("independent.partners=2",))
    data = dataset_of(study)
    plain = run_trial(spec_of(study, "none"), data)
    several = run_trial(spec_of(study, "independent"), data)
    first = [record for record in several.partners if record.partner == 0]
    assert [record.train_loss for record in first] == [record.train_loss for record in plain.epochs]
    assert [record.test_loss for record in first] == [record.test_loss for record in plain.epochs]
    assert several.partners[0].train_loss != several.partners[1].train_loss
    assert several.grafts == ()


def test_what_networks_are_worth_together(make: Callable[..., Study], tmp_path: Path) -> None:
    study = make("independent", settings=("independent.partners=2", "train.held_out=12"))
    spec, data = spec_of(study, "independent"), dataset_of(study)
    file = CheckpointFile(tmp_path / "w.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    models: list[torch.nn.Module] = []

    def look(record: EpochRecord) -> None:
        if record.epoch == 2:  # the last checkpoint but one: train the rest by hand
            state = file.load()
            assert state is not None
            for place, saved in enumerate(state["members"]):
                kept = lab_data.dataset.hold_out(data, 12)
                member = Member(spec, kept, place=place)
                member.load(saved)
                ModuleEngine().train_epoch([member], [3])
                models.append(member.model.eval())

    result = run_trial(spec, data, checkpoint=file, on_epoch=look)
    found = {record.how: record for record in result.together}
    outputs = [model(data.x_test).detach().double().softmax(1) for model in models]
    ensemble = ((outputs[0] + outputs[1]).argmax(1) == data.y_test).double().mean()
    assert found["ensemble"].test_accuracy == pytest.approx(float(ensemble))
    last = [record for record in result.partners if record.epoch == 3]
    best = found["best"]
    assert best.partner is not None
    assert best.test_accuracy == last[best.partner].test_accuracy
    assert set(found) == {"ensemble", "mean weights", "best"}


def test_mean_weights_are_means_with_statistics_of_their_own(make: Callable[..., Study]) -> None:
    from regrow.lab.together import _mean_weights

    study = make("independent")
    spec, data = spec_of(study, "independent"), dataset_of(study)
    models = [build_model(spec, data, seed=seed) for seed in (1, 2)]
    found = _mean_weights(models, spec=spec, data=data)
    states = [model.state_dict() for model in models]
    for name, value in found.state_dict().items():
        if "running" in name or "tracked" in name:
            continue
        assert torch.equal(value, (states[0][name] + states[1][name]) / 2), name
    conv, norm = found.get_submodule("features.conv1"), found.get_submodule("features.norm1")
    seen = conv(data.x_train)
    assert torch.allclose(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5)


@pytest.mark.parametrize(
    "arm",
    [
        ("grafting", ("grafting.partners=3", "grafting.memory=graft")),
        pytest.param(("grafting", ("grafting.unit=filter",)), marks=pytest.mark.slow),
        pytest.param(("independent", ("independent.partners=2",)), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("stop", seldom([1, 2, 3], often=[2]))
def test_killed_and_resumed_is_the_same_bits(
    make: Callable[..., Study], tmp_path: Path, arm: tuple[str, tuple[str, ...]], stop: int
) -> None:
    study = make(arm[0], settings=(*arm[1], "diagnostics.weights=true"), epochs=4)
    spec, data = spec_of(study, arm[0]), dataset_of(study)
    whole = run_trial(spec, data)
    file = CheckpointFile(tmp_path / "a.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)

    def end(record: EpochRecord) -> None:
        if record.epoch == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(spec, data, checkpoint=file, on_epoch=end)
    assert without_times(run_trial(spec, data, checkpoint=file)) == without_times(whole)


def test_a_network_that_blows_up_leaves_the_others_at_work(
    make: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("independent", settings=("independent.partners=2",))
    spec, data = spec_of(study, "independent"), dataset_of(study)
    batches, blown = Member.batches, {partner_seed(spec.seed, 1)}

    def broken(self: Member, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        if self._seed in blown:
            with torch.no_grad():
                next(self.model.parameters()).fill_(math.nan)
        return batches(self, epoch)

    monkeypatch.setattr(Member, "batches", broken)
    result = run_trial(spec, data)
    assert (result.status, len(result.epochs)) == ("finished", 3)
    assert result.epochs[-1].train_loss is None
    assert [record.train_loss is None for record in result.partners[-2:]] == [False, True]
    found = {record.how: record for record in result.together}
    assert found["best"].partner == 0
    blown.add(partner_seed(spec.seed, 0))
    assert run_trial(spec, data).status == "diverged"


def test_rates_of_partners() -> None:
    training = Training(lr=0.1, partner_rates="spread")
    two = [partner_rate(training, place=place, partners=2) for place in range(2)]
    three = [partner_rate(training, place=place, partners=3) for place in range(3)]
    assert two == pytest.approx([0.05, 0.1])  # the released code's
    assert three == pytest.approx([0.025, 0.075, 0.1])
    assert [partner_rate(Training(lr=0.1), place=k, partners=3) for k in range(3)] == [0.1] * 3


@pytest.mark.parametrize(
    ("recipe", "setting", "told"),
    [
        ("independent", "independent.partners=1", "partners: must be at least 2, got 1"),
        ("independent", "independent.partner=3", "unknown setting 'partner'"),
        ("grafting", "grafting.partners=1", "partners must be a whole number of at least 2, got 1"),
        ("grafting", "grafting.mode=papre", "mode must be 'paper' or 'reference'"),
        ("grafting", "grafting.unit=row", "unit must be 'layer' or 'filter'"),
        ("grafting", "grafting.memory=lose", "memory must be 'keep', "),
        ("grafting", "grafting.criterion=l2", "criterion must be 'entropy'"),
        ("grafting", "grafting.amplitude=2.0", r"amplitude must be within \[0, 1\]"),
        ("grafting", "grafting.bins=0", "bins must be a whole number of at least 1"),
    ],
)
def test_bad_settings_are_told_before_anything_runs(
    make: Callable[..., Study], recipe: str, setting: str, told: str
) -> None:
    with pytest.raises(LookupError if "unknown" in told else ConfigError, match=told):
        make(recipe, settings=(setting,))


def test_grafting_is_nothing_that_a_control_can_replay(make: Callable[..., Study]) -> None:
    with pytest.raises(ConfigError, match="replays an arm with a recipe, and the study has none"):
        make("grafting", "random")
