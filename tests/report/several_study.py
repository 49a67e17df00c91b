"""A results folder of trials with several networks: written by the laboratory's store, every number drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from regrow.study.partner_records import GraftRecord, PartnerRecord, TogetherRecord
from regrow.study.records import (
    EpochRecord,
    LayerRecord,
    TrialResult,
    WeightRecord,
)
from report.stored import opened

GRAFTING = {"partners": 2, "criterion": "entropy", "amplitude": 0.4, "sharpness": 500.0, "bins": 10}
ARMS: dict[str, dict[str, object]] = {
    "none": {"recipe": "none"},
    "long": {"recipe": "none", "train": {"epochs": 8}},
    "grafting": {"recipe": "grafting", "settings": GRAFTING},
    "graft0": {"recipe": "grafting", "settings": {**GRAFTING, "amplitude": 0.0}},
    "apart": {"recipe": "independent", "settings": {"partners": 2}},
    "plus": {"recipe": "grafting", "settings": GRAFTING, "teachers": ["apart"]},
}
LAYERS = {"stem": 4, "conv10": 12, "conv2": 8}
PER_EPOCH = 10
MEANS = {
    "none": 0.70, "long": 0.80, "grafting": 0.76, "graft0": 0.75, "apart": 0.70, "plus": 0.82
}  # fmt: skip


def write_study(
    folder: Path,
    *,
    arms: Mapping[str, Mapping[str, object]] = ARMS,
    seeds: Sequence[int] = range(8),
    epochs: int = 4,
    layers: Mapping[str, int] = LAYERS,
    means: Mapping[str, float] = MEANS,
    noise: float = 0.01,
    grid: Mapping[str, Sequence[object]] | None = None,
    cells: Sequence[str] = ("base",),
    held_out: int = 100,
) -> Path:
    """Write one trial for each cell, arm and seed.

    Args:
        folder: Where to.
        arms: The arms.
        seeds: The seeds.
        epochs: Epochs of the study.
        layers: Number of filters by layer, in the network's order.
        means: Mean accuracy of each arm.
        noise: Standard deviation of accuracies.
        grid: The study's grid.
        cells: Its cells.
        held_out: Images that are not trained on.

    Returns:
        The folder.
    """
    with opened(
        folder,
        train={"epochs": epochs, "lr": 0.1, "held_out": held_out},
        model={"name": "convnet"},
        arms=arms,
        grid={key: list(values) for key, values in (grid or {}).items()},
        seeds=list(seeds),
    ) as store:
        trials: list[TrialResult] = []
        for cell in cells:
            for place, (label, arm) in enumerate(arms.items()):
                for seed in seeds:
                    rng = np.random.default_rng([place, seed])
                    trials.append(draw_trial(
                        cell, label, arm, seed, rng=rng, epochs=epochs, layers=layers,
                        mean=means.get(label, 0.7), noise=noise,
                    ))  # fmt: skip
        store.write(*trials, finished_at="now")
    return folder


def draw_trial(
    cell: str,
    label: str,
    arm: Mapping[str, object],
    seed: int,
    *,
    rng: np.random.Generator,
    epochs: int,
    layers: Mapping[str, int],
    mean: float,
    noise: float,
) -> TrialResult:
    """One trial; its networks are grafted after each epoch but the last, and graft nothing if they are apart."""
    settings, train = dict(arm.get("settings") or {}), dict(arm.get("train") or {})  # type: ignore[call-overload]
    count, length = int(settings.get("partners", 1)), int(train.get("epochs", epochs))
    grown = [mean * (0.5 + 0.5 * epoch / length) for epoch in range(1, length + 1)]
    networks = [[value + rng.normal(0, noise) for value in grown] for _ in range(count)]
    return TrialResult(
        trial=f"{cell}/{label}/seed{seed}",
        cell=cell,
        arm=label,
        seed=seed,
        status="finished",
        majority_share=0.1,
        epochs=tuple(
            EpochRecord(
                epoch=epoch,
                train_loss=1.0,
                train_accuracy=0.8,
                test_loss=1.0,
                test_accuracy=sum(own[epoch - 1] for own in networks) / count,
                seconds=1.0,
            )
            for epoch in range(1, length + 1)
        ),
        steps=PER_EPOCH * length,
        layers=tuple(
            LayerRecord(layer=layer, filters=filters) for layer, filters in layers.items()
        ),
        partners=tuple(
            PartnerRecord(
                epoch=epoch,
                partner=partner,
                lr=0.1 / (partner + 1),
                train_loss=1.0,
                train_accuracy=0.8,
                test_loss=1.0,
                test_accuracy=networks[partner][epoch - 1],
            )
            for epoch in range(1, length + 1)
            for partner in range(count)
            if count > 1
        ),
        together=tuple(
            TogetherRecord(
                how=how,
                test_accuracy=mean + more + rng.normal(0, noise),
                partner=1 if how == "best" else None,
            )
            for how, more in (("ensemble", 0.05), ("mean weights", -0.2), ("best", 0.01))
            if count > 1
        ),
        grafts=tuple(
            GraftRecord(
                step=PER_EPOCH * epoch - 1,
                epoch=epoch,
                partner=partner,
                layer=layer,
                share=0.5 + settings["amplitude"] * rng.uniform(-0.5, 0.5),
                information=1.0,
                partner_information=1.0,
                distance=rng.uniform(0.5, 1.5),
            )
            for epoch in range(1, length)
            for partner in range(count)
            for layer in layers
            if "amplitude" in settings
        ),
        weights=tuple(
            WeightRecord(
                epoch=epoch,
                partner=partner,
                layer=layer,
                entropy=rng.uniform(1.5, 2.3),
                below_1=rng.uniform(0.3, 0.4),
                below_0_1=rng.uniform(0.2, 0.3),
                below_0_01=rng.uniform(0.1, 0.2),
                below_0_001=rng.uniform(0.0, 0.1),
            )
            for epoch in range(1, length + 1)
            for partner in range(count)
            for layer in layers
        ),
    )
