"""Results folders as a study leaves them: whole, partial, with every kind of failure."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regrow.study.records import (
    CorrelationRecord,
    EpochRecord,
    LayerRecord,
    OverlapRecord,
    RenewalRecord,
    RestingRecord,
    Status,
    TrialResult,
)
from report.several_study import write_study
from report.stored import opened

ARMS: dict[str, dict[str, object]] = {
    "none": {"recipe": "none", "settings": {}, "train": {}, "like": None},
    "randomout": {
        "recipe": "randomout",
        "settings": {"threshold": 1e-8, "active_fraction": 0.6},
        "train": {},
        "like": None,
    },
    "random": {"recipe": "random", "settings": {}, "train": {}, "like": "randomout"},
}


class RunFolder:
    """Writes a results folder trial by trial."""

    def __init__(
        self,
        folder: Path,
        *,
        arms: Mapping[str, Mapping[str, object]] = ARMS,
        seeds: Sequence[int] = range(24),
        grid: Mapping[str, list[object]] | None = None,
        epochs: int = 20,
        majority: float = 0.5,
        study_name: str = "synthetic",
    ) -> None:
        self.folder, self.epochs, self.majority = folder, epochs, majority
        self.store = opened(
            folder,
            name=study_name,
            data={"name": "craters", "settings": {"region": "East"}},
            model={"name": "cratercnn", "settings": {"filters": 2, "dense": 16}},
            train={"epochs": epochs, "lr": 0.03, "batch_size": 64},
            arms=arms,
            grid=dict(grid or {}),
            seeds=list(seeds),
            environment={
                "regrow": "0.1.0.dev0",
                "torch": "2.13.0",
                "python": "3.11.9",
                "platform": "Linux",
                "cores": 2,
                "command": "regrow run study.toml --seeds 24",
                "started_at": "2026-01-01T12:00:00+00:00",
            },
        )

    def add(
        self,
        arm: str,
        seed: int,
        accuracy: float | None,
        *,
        cell: str = "base",
        status: Status = "finished",
        renewals: Sequence[tuple[int, str, int]] = (),
        seconds: float = 10.0,
        recipe_seconds: float = 0.1,
    ) -> None:
        """Add a trial; `renewals` are (epoch, layer, filters)."""
        result = self._trial(
            arm, seed, accuracy, cell=cell, status=status, renewals=renewals,
            seconds=seconds, recipe_seconds=recipe_seconds,
        )  # fmt: skip
        self.store.write(result, finished_at="2026-01-01T13:00:00+00:00")

    def _trial(
        self,
        arm: str,
        seed: int,
        accuracy: float | None,
        *,
        cell: str,
        status: Status,
        renewals: Sequence[tuple[int, str, int]],
        seconds: float,
        recipe_seconds: float,
    ) -> TrialResult:
        stop = self.epochs if status == "finished" else self.epochs // 2
        crashed = status == "crashed"
        noise = np.random.default_rng([seed, len(arm), len(cell)])
        final = self.majority if accuracy is None else accuracy
        values = []
        for epoch in range(1, stop + 1):
            grown = self.majority + (final - self.majority) * (
                1 - math.exp(-4 * epoch / self.epochs)
            )
            value = min(max(grown + noise.normal(0, 0.008), 0.0), 1.0)
            values.append(final if epoch == stop else value)
        return TrialResult(
            trial=f"{cell}/{arm}/seed{seed}",
            cell=cell,
            arm=arm,
            seed=seed,
            status=status,
            majority_share=None if crashed else self.majority,
            epochs=()
            if crashed
            else tuple(
                EpochRecord(
                    epoch=epoch,
                    train_loss=0.4,
                    train_accuracy=value,
                    test_loss=0.5,
                    test_accuracy=value,
                    seconds=seconds / self.epochs,
                )
                for epoch, value in enumerate(values, 1)
            ),
            steps=0 if crashed else stop * 10,
            renewals=tuple(
                RenewalRecord(
                    step=epoch * 1000 + index, epoch=epoch, layer=layer, filter=number, score=1e-9
                )
                for index, (epoch, layer, filters) in enumerate(renewals)
                for number in range(filters)
            ),
            recipe_seconds=recipe_seconds,
            error="RuntimeError: out of <memory>" if crashed else None,
        )

    def fill(
        self, *, cell: str = "base", arms: Mapping[str, tuple[float, float]], seeds: int
    ) -> None:
        """Fill a cell: arm to (share of seeds at chance, mean accuracy of the others)."""
        trials: list[TrialResult] = []
        for seed in range(seeds):
            luck = np.random.default_rng(seed).uniform()
            for index, (arm, (lost, mean)) in enumerate(arms.items()):
                rng = np.random.default_rng([seed, index])
                failed = 0.7 * luck + 0.3 * rng.uniform() < lost
                value = self.majority if failed else rng.normal(mean, 0.02)
                renewals: list[tuple[int, str, int]] = []
                if arm not in {"none", "clip"} and luck < 0.6:
                    start = 1 + int(6 * rng.uniform())
                    for epoch in range(start, start + 1 + int(5 * rng.uniform())):
                        renewals.append((epoch, "conv1", 1 + int(2 * rng.uniform())))
                        if rng.uniform() < 0.5:
                            renewals.append((epoch, "conv2", 1))
                trials.append(
                    self._trial(
                        arm,
                        seed,
                        round(min(value, 1.0) * 765) / 765,
                        cell=cell,
                        status="finished",
                        renewals=renewals,
                        seconds=10 + index + rng.uniform(),
                        recipe_seconds=0.02 * index,
                    )
                )
        self.store.write(*trials, finished_at="2026-01-01T13:00:00+00:00")

    def close(self) -> Path:
        self.store.close()
        return self.folder


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Start an empty results folder; keyword arguments as in `RunFolder`."""

    def make(name: str = "run", **options: object) -> RunFolder:
        return RunFolder(tmp_path / name, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders that many tests begin with, each made once; a test gets a copy of its own."""
    folder = tmp_path_factory.mktemp("made")
    return {
        "rescued": _rescued(RunFolder(folder / "rescued")),
        "partial": _partial(
            RunFolder(folder / "partial", seeds=range(10), grid={"train.lr": [0.1, 0.03]})
        ),
        "several": write_study(folder / "several"),
        "cycled": _cycled(folder / "cycled"),
    }


@pytest.fixture
def _copied(made: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: shutil.copytree(made[name], tmp_path / name)


def _rescued(run: RunFolder) -> Path:
    run.fill(
        arms={"none": (0.5, 0.87), "randomout": (0.06, 0.88), "random": (0.42, 0.87)}, seeds=24
    )
    return run.close()


@pytest.fixture
def rescued(_copied: Callable[[str], Path]) -> Path:
    """A whole study in which randomout rescues seeds that none and random lose."""
    return _copied("rescued")


_CYCLED_ARMS = {
    "none": {"recipe": "none"},
    "repr": {"recipe": "repr"},
    "random": {"recipe": "random", "like": "repr"},
}


def _cycled_trial(arm: str, seed: int, layers: Mapping[str, int]) -> TrialResult:
    """Eight epochs of ten steps; filters leave after epochs 2 and 6, come back after 4 and never."""
    names = list(layers)
    first = {names[0]: (0, 3), names[1]: (5,)} if seed == 0 else {names[2]: (1, 2, 5)}
    renewals = [
        RenewalRecord(
            step=39,
            epoch=4,
            layer=layer,
            filter=index,
            score=0.5,
            dropped=19 if arm == "repr" else None,
        )
        for layer, filters in first.items()
        for index in filters
    ]
    resting = (RestingRecord(layer=names[0], filter=3, dropped=59),)
    overlaps = [
        OverlapRecord(
            epoch=epoch,
            layer=layer,
            mean=0.1 * place + 0.01 * epoch + 0.02 * seed,
            largest=0.9,
            out=0,
        )
        for epoch in range(1, 9)
        for place, layer in enumerate(layers, start=1)
    ]
    correlations = [
        CorrelationRecord(epoch=epoch, ranking=ranking, value=value, rank=rank, filters=20)
        for epoch in (4, 8)
        for ranking, value, rank in (
            ("overlap", 0.25 + 0.5 * seed, 0.1 * epoch),
            ("random", None, -0.5 if seed else None),
        )
    ]
    return TrialResult(
        trial=f"base/{arm}/seed{seed}",
        cell="base",
        arm=arm,
        seed=seed,
        status="finished",
        majority_share=0.1,
        epochs=tuple(
            EpochRecord(
                epoch=epoch,
                train_loss=1.0,
                train_accuracy=0.8,
                test_loss=1.0,
                test_accuracy=0.8,
                seconds=1.0,
            )
            for epoch in range(1, 9)
        ),
        steps=80,
        renewals=() if arm == "none" else tuple(renewals),
        resting=resting if arm == "repr" else (),
        layers=tuple(
            LayerRecord(layer=layer, filters=filters) for layer, filters in layers.items()
        ),
        overlaps=tuple(overlaps),
        correlations=tuple(correlations) if arm == "none" else (),
    )


@pytest.fixture
def new_cycled(tmp_path: Path) -> Callable[..., Path]:
    """A folder of the present version, written by the laboratory: arms none, repr, random, with all diagnostics.

    The arm called repr has drop phases, all but none renew filters; `accuracy` is the last epoch's of seed 0.
    """

    def make(
        layers: Mapping[str, int] | None = None,
        *,
        seeds: int = 2,
        name: str = "cycled",
        arms: Mapping[str, Mapping[str, object]] = _CYCLED_ARMS,
        accuracy: Mapping[str, float] | None = None,
    ) -> Path:
        return _cycled(tmp_path / name, layers, seeds=seeds, arms=arms, accuracy=accuracy)

    return make


def _cycled(
    folder: Path,
    layers: Mapping[str, int] | None = None,
    *,
    seeds: int = 2,
    arms: Mapping[str, Mapping[str, object]] = _CYCLED_ARMS,
    accuracy: Mapping[str, float] | None = None,
) -> Path:
    # In the network's order, which is not that of the numbers.
    found = layers or {"conv1": 4, "conv10": 10, "conv2": 6}
    # Seeds that nobody trains are a study that has just begun.
    asked = list(range(seeds)) or [0]
    with opened(folder, arms=arms, seeds=asked, train={"epochs": 8, "lr": 0.1}) as store:
        for seed in range(seeds):
            for arm in arms:
                trial = _cycled_trial(arm, seed, found)
                last = replace(
                    trial.epochs[-1], test_accuracy=(accuracy or {}).get(arm, 0.8) + seed / 1000
                )
                store.write(replace(trial, epochs=(*trial.epochs[:-1], last)), finished_at="now")
    return folder


@pytest.fixture
def cycled(_copied: Callable[[str], Path]) -> Path:
    """Layers of 4, 10 and 6 filters, two seeds."""
    return _copied("cycled")


@pytest.fixture
def new_several(tmp_path: Path) -> Callable[..., Path]:
    """A folder with trials of several networks; keyword arguments as in `write_study`."""

    def make(name: str = "several", **options: object) -> Path:
        return write_study(tmp_path / name, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def several_folder(_copied: Callable[[str], Path]) -> Path:
    """Arms none, long, grafting, graft0, apart and plus; eight seeds of four epochs, all diagnostics."""
    return _copied("several")


@pytest.fixture
def partial(_copied: Callable[[str], Path]) -> Path:
    """A study in two cells, cut off: failures of every kind, and trials that never ended."""
    return _copied("partial")


def _partial(run: RunFolder) -> Path:
    cell = "train.lr=0.03"
    for seed in range(10):
        run.add("none", seed, 0.5 if seed < 4 else 0.85 + seed / 1000, cell=cell)
    for seed in range(8):
        run.add("randomout", seed, 0.86 + seed / 1000, cell=cell, renewals=[(2, "conv1", 1)])
    run.add("randomout", 8, 0.61, cell=cell, status="diverged", renewals=[(3, "conv2", 2)])
    run.add("randomout", 9, None, cell=cell, status="crashed")
    for seed in range(3):
        run.add("none", seed, 0.7, cell="train.lr=0.1")
    run.add("random", 0, 0.5, cell=cell)
    return run.close()
