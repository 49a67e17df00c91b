from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from regrow.cli import progress as module
from regrow.cli.progress import Lines, Live, Progress
from regrow.lab.events import Ended, Noticed, Progressed
from regrow.study.document import DataChoice, ModelChoice, Training
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec


def spec(label: str, seed: int) -> TrialSpec:
    return TrialSpec(
        cell="base",
        label=label,
        seed=seed,
        data=DataChoice(name="digits"),
        model=ModelChoice(),
        train=Training(epochs=10),
        recipe="none",
        settings={},
    )


SPECS = [spec(label, seed) for seed in (0, 1) for label in ("a", "b")]


def record(epoch: int, accuracy: float | None = 0.5) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=0.5,
        test_loss=1.0,
        test_accuracy=accuracy,
        seconds=1.0,
    )


def ended(chosen: TrialSpec, accuracy: float, **changes: object) -> Ended:
    values = {
        "trial": chosen.trial,
        "cell": "base",
        "arm": chosen.label,
        "seed": chosen.seed,
        "status": "finished",
        "epochs": (record(10, accuracy),),
    }
    return Ended(chosen, TrialResult(**{**values, **changes}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until it is told."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def progressed(*specs: TrialSpec, epoch: int) -> Progressed:
    """One more epoch of a run of these trials, of 100 images a network."""
    networks = specs[0].partners
    return Progressed(specs, record(epoch), network_epochs=networks, samples=100 * networks)


def test_trials_seeds_and_means_are_counted() -> None:
    progress = Progress(SPECS, {"base/a/seed0": 0.5})
    assert (progress.done, progress.seeds_done, progress.mean("a"), progress.mean("b")) == (
        1,
        0,
        0.5,
        None,
    )
    progress.take(ended(SPECS[1], 0.9))
    progress.take(ended(SPECS[2], 0.7))
    assert (progress.done, progress.seeds_done, progress.ended("a")) == (3, 1, 2)
    assert progress.mean("a") == pytest.approx(0.6)


def test_a_crash_is_done_and_in_no_mean() -> None:
    progress = Progress(SPECS, {})
    progress.take(ended(SPECS[0], 0.5, status="crashed", epochs=()))
    assert (progress.done, progress.mean("a")) == (1, None)


def test_time_left_is_the_pace_times_the_epochs_left(clock: list[float]) -> None:
    progress = Progress(SPECS, {"base/a/seed0": 0.5})
    clock[0] = 150.0  # the workers were slow to start: no part of the pace
    progress.take(progressed(SPECS[1], epoch=4))
    assert progress.left_s is None
    clock[0] = 152.0
    progress.take(progressed(SPECS[1], epoch=5))
    assert progress.left_s == pytest.approx(2.0 * (5 + 10 + 10))
    progress.take(ended(SPECS[1], 0.5))
    assert progress.left_s == pytest.approx(2.0 * (10 + 10))
    assert progress.elapsed_s == 52.0


def test_an_epoch_of_several_networks_is_several_epochs(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    three = replace(SPECS[1], recipe="independent", settings={"partners": 3})
    later = replace(three, seed=1)
    progress = Progress([SPECS[0], three, later], {})
    progress.take(progressed(SPECS[0], epoch=1))
    assert progress.left_s is None
    clock[0] = 106.0
    progress.take(progressed(three, epoch=1))  # three epochs of single networks in six seconds
    assert progress.left_s == pytest.approx(2.0 * (9 + 3 * 9 + 3 * 10))
    first = Progress([three], {})
    first.take(progressed(three, epoch=1))
    assert first.left_s is None  # the first epoch holds the start of the workers
    clock[0] = 118.0
    first.take(progressed(three, epoch=2))  # three more in twelve seconds
    assert first.left_s == pytest.approx(4.0 * 3 * 8)
    with Lines(Progress([three], {})) as lines:
        lines(ended(three, 0.5))
    assert "base/b/seed0: 50.0 %, mean of 3 networks |" in capsys.readouterr().err


def test_what_trials_have_in_common_is_trained_once(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(SPECS, {})
    progress.take(progressed(*SPECS[:3], epoch=1))
    clock[0] += 2.0
    progress.take(progressed(*SPECS[:3], epoch=2))
    progress.take(progressed(SPECS[3], epoch=1))
    assert (progress.trained, progress.saved) == (3, 4)
    assert progress.samples_per_s == pytest.approx(200 / 2.0)
    assert progress.left_s == pytest.approx((3 * 8 + 9) * 2.0 / 4)
    with Lines(progress) as lines:
        lines(ended(SPECS[0], 0.5))
    assert "3 network-epochs trained, 4 shared, 100 images/s" in capsys.readouterr().err


def test_lines_are_rare_but_the_last_and_crashes_are_told(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines(Progress(SPECS, {})) as lines:
        lines(Noticed("a worker died"))
        lines(ended(SPECS[0], 0.51234))
        lines(ended(SPECS[1], 0.6))
        lines(ended(SPECS[2], 0.5, status="crashed", epochs=(), error="E: x"))
        lines(ended(SPECS[3], 0.7))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "warning: a worker died"
    assert [line.split(":")[0] for line in said[1:]] == [
        "[1/4] base/a/seed0",
        "[3/4] base/a/seed1",
        "[4/4] base/b/seed1",
    ]
    assert "51.2 % | mean a 51.2 %" in said[1]
    assert "crashed: E: x" in said[2]


def test_the_live_display_shows_arms_and_time() -> None:
    progress = Progress(SPECS, {"base/a/seed0": 0.5})
    console = Console(file=io.StringIO(), width=100)
    console.print(Live(progress))
    text = console.file.getvalue()
    assert "1 of 4 trials, 0 of 2 seeds" in text
    assert "50.0 %" in text
    assert "1 of 2" in text
