"""What a trial looks at beside its accuracy: right, complete, and without any influence on the training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from crossed import seldom
from lab.alone import run_trial
from regrow.errors import ConfigError
from regrow.lab import data as lab_data
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.diagnostics import overlap_of
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.lab.rankings import COMPARED
from regrow.study.document import Study
from regrow.study.records import EpochRecord, OverlapRecord, RenewalRecord, TrialResult
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]

CYCLES = ("repr.s1=1", "repr.s2=2", "repr.cycles=2", "repr.fraction=0.4")
EPOCHS = 7
ALL = ("diagnostics.overlap=true", "diagnostics.oracle_every_epochs=2")
OUT = {1, 2, 4, 5}
"""After these epochs of `CYCLES` some filters are out of the network."""

WITHIN = ("repr.s1=1", "repr.s2=7", "repr.cycles=2", "repr.unit=steps", "repr.fraction=0.4")
"""The first epoch, of six steps, ends within a drop phase."""


def spec_of(study: Study, label: str) -> TrialSpec:
    return next(spec for spec in plan(study).trials if spec.label == label)


def run(study: Study, label: str, **more: Any) -> TrialResult:
    spec = spec_of(study, label)
    return run_trial(spec, lab_data.load(spec.data.name, settings=spec.data.settings), **more)


def training(result: TrialResult) -> TrialResult:
    """What the training gave, without times and diagnostics."""
    records = tuple(dataclasses.replace(record, seconds=0.0) for record in result.epochs)
    return dataclasses.replace(
        result, epochs=records, recipe_seconds=0.0, layers=(), overlaps=(), correlations=()
    )


class Interrupted(Exception):  # noqa: N818 # no error, an event
    """Stands for a process that is killed between two epochs."""


def stop_after(epoch: int) -> Callable[[EpochRecord], None]:
    def stop(record: EpochRecord) -> None:
        if record.epoch == epoch:
            raise Interrupted

    return stop


def overlap_by_hand(weight: Tensor, inside: list[int]) -> list[float]:
    """Equation 2 of the paper, in float64, one product after the other."""
    rows = [[float(value) for value in weight[index].flatten()] for index in inside]
    lengths = [math.sqrt(sum(value * value for value in row)) for row in rows]
    found: list[float] = []
    for one, row in enumerate(rows):
        total = 0.0
        for other, column in enumerate(rows):
            if other != one:
                product = sum(a * b for a, b in zip(row, column, strict=True))
                total += abs(product / (lengths[one] * lengths[other]))
        found.append(total / len(rows))
    return found


@pytest.mark.parametrize("out", [(), (1, 4)])
def test_the_overlap_is_that_of_the_filters_in_the_network(out: tuple[int, ...]) -> None:
    weight = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = overlap_by_hand(weight, [index for index in range(6) if index not in out])
    mean, largest = overlap_of(weight, out=out)
    assert mean == pytest.approx(sum(expected) / len(expected), abs=1e-12)
    assert largest == pytest.approx(max(expected), abs=1e-12)


def test_no_filter_and_no_number_have_no_overlap() -> None:
    weight = torch.ones(2, 3)
    assert overlap_of(weight, out=(0, 1)) == (None, None)
    assert overlap_of(weight * math.nan) == (None, None)


@pytest.mark.parametrize("recipe", seldom(["none", "repr", "restart"], often=["repr"]))
def test_looking_changes_no_bit_of_the_training(tiny_study: MakeStudy, recipe: str) -> None:
    norm = ("model.norm=batch", "train.held_out=24")
    settings = (*norm, *CYCLES) if recipe == "repr" else norm
    watched, plain = (
        run(tiny_study(recipe, settings=(*settings, *more), epochs=EPOCHS), recipe)
        for more in (ALL, ())
    )
    assert watched.overlaps
    assert watched.correlations
    assert plain.overlaps == ()
    assert plain.correlations == ()
    assert training(watched) == training(plain)


def test_every_layer_is_noted_after_every_epoch_in_all_arms_alike(tiny_study: MakeStudy) -> None:
    study = tiny_study(
        "none", "repr", settings=("diagnostics.overlap=true", *CYCLES), epochs=EPOCHS
    )
    plain, cycled = (run(study, label) for label in ("none", "repr"))
    assert plain.layers == cycled.layers
    layers = {each.layer: each.filters for each in plain.layers}
    assert list(layers.values()) == [3, 3]
    for result in (plain, cycled):
        seen = [(record.epoch, record.layer) for record in result.overlaps]
        assert seen == [(epoch, layer) for epoch in range(1, EPOCHS + 1) for layer in layers]
    assert {record.epoch for record in cycled.overlaps if record.out} == OUT
    assert not any(record.out for record in plain.overlaps)
    assert plain.overlaps[:2] != cycled.overlaps[:2]  # the drop follows the first epoch at once


def test_the_noted_values_are_those_of_the_weights(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study("repr", settings=("diagnostics.overlap=true", *CYCLES), epochs=EPOCHS)
    spec = spec_of(study, "repr")
    file = CheckpointFile(tmp_path / "w.ckpt", trial=spec.trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run(study, "repr", checkpoint=file, on_epoch=stop_after(2))
    state = file.load()
    assert state is not None
    records = [OverlapRecord(**each) for each in state["diagnosis"]["overlaps"]]
    masks: dict[str, Tensor] = state["members"][0]["regrower"]["resting"]["masks"]
    assert any(bool(mask.any()) for mask in masks.values())
    for record in (each for each in records if each.epoch == 2):
        mask = masks.get(record.layer, torch.zeros(3, dtype=torch.bool))
        inside = (~mask).nonzero()[:, 0].tolist()
        expected = overlap_by_hand(state["members"][0]["model"][f"{record.layer}.weight"], inside)
        assert record.out == int(mask.sum())
        assert record.mean == pytest.approx(sum(expected) / len(expected), abs=1e-6)
        assert record.largest == pytest.approx(max(expected), abs=1e-6)


def test_the_oracle_is_asked_at_intervals_on_the_filters_in_the_network(
    tiny_study: MakeStudy,
) -> None:
    settings = ("diagnostics.oracle_every_epochs=3", "train.held_out=24", *CYCLES)
    result = run(tiny_study("repr", settings=settings, epochs=6), "repr")
    assert result.overlaps == ()
    asked = [record.epoch for record in result.correlations]
    assert asked == [epoch for epoch in (3, 6) for _ in COMPARED]
    settings = (
        "diagnostics.oracle_every_epochs=4",
        "diagnostics.overlap=true",
        "train.held_out=24",
        *CYCLES,
    )
    within = run(tiny_study("repr", settings=settings, epochs=EPOCHS), "repr")
    out = sum(record.out for record in within.overlaps if record.epoch == 4)
    assert out
    assert {(record.epoch, record.filters) for record in within.correlations} == {(4, 6 - out)}


def test_a_network_that_blew_up_has_no_ranking(tiny_study: MakeStudy) -> None:
    settings = (
        "diagnostics.oracle_every_epochs=1",
        "diagnostics.overlap=true",
        "train.held_out=24",
    )
    result = run(tiny_study("none", settings=settings, lr=1e30), "none")
    assert result.status == "diverged"
    assert result.correlations == ()
    assert [record.mean for record in result.overlaps] == [None, None]


def test_an_oracle_needs_images_that_are_held_out(tiny_study: MakeStudy) -> None:
    study = tiny_study("none", settings=("diagnostics.oracle_every_epochs=1",))
    with pytest.raises(
        ConfigError, match=r"^diagnostics: oracle_every_epochs needs .* train\.held_out"
    ):
        preflight(plan(study).trials)


def test_an_interrupted_trial_has_seen_the_same(tiny_study: MakeStudy, tmp_path: Path) -> None:
    settings = (*ALL, "train.held_out=24", *CYCLES)
    study = tiny_study("repr", settings=settings, epochs=EPOCHS)
    whole = run(study, "repr")
    trial = spec_of(study, "repr").trial
    file = CheckpointFile(tmp_path / "w.ckpt", trial=trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run(study, "repr", checkpoint=file, on_epoch=stop_after(2))
    resumed = run(study, "repr", checkpoint=file)
    assert resumed.overlaps == whole.overlaps
    assert resumed.correlations == whole.correlations
    assert training(resumed) == training(whole)


def test_drops_and_those_that_never_came_back_are_kept(tiny_study: MakeStudy) -> None:
    whole = run(tiny_study("repr", settings=CYCLES, epochs=EPOCHS), "repr")
    per_epoch = whole.steps // EPOCHS
    assert {(record.dropped, record.step) for record in whole.renewals} == {
        (per_epoch - 1, 3 * per_epoch - 1),
        (4 * per_epoch - 1, 6 * per_epoch - 1),
    }
    assert whole.resting == ()
    assert whole.layers  # also without diagnostics
    assert all(each.filters == 3 for each in whole.layers)
    blown = run(tiny_study("repr", settings=WITHIN, epochs=4, lr=1e10), "repr")
    assert (blown.status, len(blown.epochs), blown.renewals) == ("diverged", 1, ())
    assert [record.dropped for record in blown.resting] == [0, 0]


def test_a_drop_is_kept_through_an_interruption_within_it(
    tiny_study: MakeStudy, tmp_path: Path
) -> None:
    study = tiny_study("repr", settings=CYCLES, epochs=EPOCHS)
    trial = spec_of(study, "repr").trial
    file = CheckpointFile(tmp_path / "w.ckpt", trial=trial, fingerprint="f", every_s=0.0)
    with pytest.raises(Interrupted):
        run(study, "repr", checkpoint=file, on_epoch=stop_after(4))
    resumed, whole = run(study, "repr", checkpoint=file), run(study, "repr")
    assert resumed.renewals == whole.renewals
    assert len({record.dropped for record in resumed.renewals}) == 2
    assert training(resumed) == training(whole)


def test_the_measured_change_of_a_renewal_is_kept(tiny_study: MakeStudy) -> None:
    settings = (
        "randomout.confirm=gradient",
        "randomout.threshold=1e-3",
        "randomout.every_epochs=1",
    )
    plain = run(tiny_study("randomout", settings=settings), "randomout")
    kept = run(
        tiny_study("randomout", settings=(*settings, "randomout.preserve=true")), "randomout"
    )
    assert plain.renewals
    assert kept.renewals
    assert all(record.change is None and record.dropped is None for record in plain.renewals)
    assert all(_moved(record) for record in kept.renewals)


def _moved(record: RenewalRecord) -> bool:
    return record.change is not None and 0.0 <= record.change < 1e3


NET = """
import torch
from torch import nn


class Stops(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 6, classes))

    def forward(self, x):
        if type(x) is not torch.Tensor or torch.utils._python_dispatch._get_current_dispatch_mode():
            raise ValueError("not to be followed")
        return self.net(x)


def make(*, in_channels, image_size, classes):
    return Stops(classes)
"""


def test_a_network_that_cannot_be_followed_is_refused_only_when_it_is_to_be_looked_at(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "untraced_nets.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)

    def asked(*settings: str) -> Study:
        study = tiny_study("none", settings=settings)
        own = study.model.model_copy(update={"name": "untraced_nets:make", "settings": {}})
        return study.model_copy(update={"model": own})

    preflight(plan(asked()).trials)
    with pytest.raises(ConfigError, match=r"^diagnostics: .*not to be followed"):
        preflight(plan(asked("diagnostics.overlap=true")).trials)
