from __future__ import annotations

import io
import threading
from dataclasses import replace
from itertools import pairwise

import pytest
from rich.console import Console

from regrow.cli.progress import Lines, Progress, drawing, duration
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


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def progressed(*specs: TrialSpec, epoch: int) -> Progressed:
    """One more epoch of a run of these trials, of 100 images a network."""
    networks = specs[0].partners
    return Progressed(specs, record(epoch), network_epochs=networks, samples=100 * networks)


def test_durations_are_written_for_people() -> None:
    written = [duration(seconds) for seconds in (3725, 200, 12.4, None)]
    assert written == ["1 h 02 min", "3 min 20 s", "12 s", "..."]


def test_trials_seeds_and_means_are_counted() -> None:
    progress = Progress(SPECS, {"base/a/seed0": 0.5})
    assert (progress.done, progress.seeds_done) == (1, 0)
    assert (progress.arms["a"].mean, progress.arms["b"].mean) == (0.5, None)
    progress.take(ended(SPECS[1], 0.9))
    progress.take(ended(SPECS[2], 0.7))
    assert (progress.done, progress.seeds_done, progress.arms["a"].ended) == (3, 1, 2)
    assert progress.arms["a"].mean == pytest.approx(0.6)


def test_a_crash_is_done_and_in_no_mean() -> None:
    progress = Progress(SPECS, {})
    progress.take(ended(SPECS[0], 0.5, status="crashed", epochs=()))
    assert (progress.done, progress.arms["a"].mean) == (1, None)


def test_time_left_is_the_pace_times_the_epochs_left(clock: Clock) -> None:
    progress = Progress(SPECS, {"base/a/seed0": 0.5}, clock=clock)
    clock.now = 150.0  # the workers were slow to start: no part of the pace
    progress.take(progressed(SPECS[1], epoch=4))
    assert progress.left_s is None
    clock.now = 152.0
    progress.take(progressed(SPECS[1], epoch=5))
    assert progress.left_s == pytest.approx(2.0 * (5 + 10 + 10))
    progress.take(ended(SPECS[1], 0.5))
    assert progress.left_s == pytest.approx(2.0 * (10 + 10))
    assert progress.elapsed_s == 52.0


def test_an_epoch_of_several_networks_is_several_epochs(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    three = replace(SPECS[1], recipe="independent", settings={"partners": 3})
    later = replace(three, seed=1)
    progress = Progress([SPECS[0], three, later], {}, clock=clock)
    progress.take(progressed(SPECS[0], epoch=1))
    assert progress.left_s is None
    clock.now = 106.0
    progress.take(progressed(three, epoch=1))  # three epochs of single networks in six seconds
    assert progress.left_s == pytest.approx(2.0 * (9 + 3 * 9 + 3 * 10))
    first = Progress([three], {}, clock=clock)
    first.take(progressed(three, epoch=1))
    assert first.left_s is None  # the first epoch holds the start of the workers
    clock.now = 118.0
    first.take(progressed(three, epoch=2))  # three more in twelve seconds
    assert first.left_s == pytest.approx(4.0 * 3 * 8)
    with Lines(Progress([three], {})) as lines:
        lines(ended(three, 0.5))
    assert "base/b/seed0: 50.0 %, mean of 3 networks |" in capsys.readouterr().err


def test_what_trials_have_in_common_is_trained_once(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(SPECS, {}, clock=clock)
    progress.take(progressed(*SPECS[:3], epoch=1))
    clock.now += 2.0
    progress.take(progressed(*SPECS[:3], epoch=2))
    progress.take(progressed(SPECS[3], epoch=1))
    assert (progress.trained, progress.saved) == (3, 4)
    assert progress.samples_per_s == pytest.approx(200 / 2.0)
    assert progress.left_s == pytest.approx((3 * 8 + 9) * 2.0 / 4)
    with Lines(progress) as lines:
        lines(ended(SPECS[0], 0.5))
    assert "3 network-epochs trained, 4 shared, 100 images/s" in capsys.readouterr().err


def test_lines_are_rare_but_the_last_and_crashes_are_told(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines(Progress(SPECS, {}, clock=clock)) as lines:
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


def test_without_a_terminal_there_is_never_half_a_minute_of_silence(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A first trial of an hour, another that ends between two lines, and one of which nothing is heard any more."""
    hour, two_hours = 3700.0, 7300.0
    heard: list[tuple[float, str]] = [(clock.now, "the run begins")]

    def wait(seconds: float) -> bool:
        heard.extend((clock.now, line) for line in capsys.readouterr().err.splitlines())
        assert seconds > 0  # or the watch would be a busy loop
        if clock.now < hour <= clock.now + seconds:
            clock.now = hour
            lines(progressed(SPECS[0], epoch=1))
            lines(ended(SPECS[0], 0.5))
        else:
            clock.now += seconds
        return clock.now >= two_hours

    lines = Lines(Progress(SPECS, {}, clock=clock), wait=wait)
    with lines:
        pass
    times = [time for time, _ in heard] + [clock.now]
    assert max(later - sooner for sooner, later in pairwise(times)) <= 30
    words = [line for _, line in heard]
    assert words[1] == "[0/4] training | 0 network-epochs | 25 s gone, ... left"
    (end,) = (line for line in words if "seed0" in line)
    assert end == (
        "[1/4] base/a/seed0: 50.0 % | mean a 50.0 % | 1 network-epoch | 1 h 00 min gone, ... left"
    )
    assert words[words.index(end) + 1].startswith("[1/4] training | mean a 50.0 %")
    assert len(words) < 2 * two_hours / 25  # and no more lines than that needs


def test_the_watch_for_silence_ends_with_the_study() -> None:
    before = threading.active_count()
    with Lines(Progress(SPECS, {})):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_the_live_display_shows_arms_and_time() -> None:
    progress = Progress(SPECS, {"base/a/seed0": 0.5})
    console = Console(file=io.StringIO(), width=100)
    console.print(drawing(progress))
    text = console.file.getvalue()
    assert "1 of 4 trials, 0 of 2 seeds" in text
    assert "50.0 %" in text
    assert "1 of 2" in text
