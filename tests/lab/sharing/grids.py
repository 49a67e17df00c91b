"""Grids of thresholds and active fractions in which filters fire, early and late, under many kinds of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of training, or of recipe, whose grid is run."""

    train: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    thresholds: tuple[float, ...] = (0.3, 0.05, 1e-8)
    fractions: tuple[float, ...] = (0.2, 0.6, 1.0)
    late: bool = False
    """Whether some of its trials renew nothing before the second epoch."""

    def arms(self, name: str) -> dict[str, dict[str, Any]]:
        """The grid's arms, with plain training and a control."""
        alike = {"train": dict(self.train), "model": dict(self.model)}
        found: dict[str, dict[str, Any]] = {}
        for high, threshold in enumerate(self.thresholds):
            for long, fraction in enumerate(self.fractions):
                settings = {
                    "confirm": "gradient",
                    **self.settings,
                    "threshold": threshold,
                    "active_fraction": fraction,
                }
                arm = {"recipe": "randomout", "settings": settings, **alike}
                found[f"{name}-{high}{long}"] = arm
        last = f"{name}-0{len(self.fractions) - 1}"
        return {
            **found,
            f"{name}-none": {"recipe": "none", **alike},
            f"{name}-random": {"recipe": "random", "like": last},
        }


BOTH = {
    "plain": Kind(),
    "momentum": Kind(train={"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3, "lr": 0.02}),
    "adam": Kind(train={"optimizer": "adam", "lr": 0.01}),
    "cosine": Kind(train={"schedule": "cosine"}),
    "augmented": Kind(train={"augment": "crop-flip"}, late=True),
    "batchnorm": Kind(model={"norm": "batch"}, late=True),
    "blown": Kind(train={"lr": 1e12}),
    "accumulated": Kind(settings={"source": "accumulated", "every_steps": 5}, late=True),
    "epochs": Kind(settings={"every_epochs": 2}, late=True),
    "keepone": Kind(settings={"keep_one": True}),
    "minloss": Kind(settings={"min_loss": 0.8}),
    "grace": Kind(settings={"grace_steps": 7, "readers": "zero"}),
}
"""For either engine."""

ALONE = {
    "dropout": Kind(model={"name": "dropping_nets:make"}, late=True),
    "overlap": Kind(train={"overlap_penalty": 0.1}, thresholds=(3.0, 1.0, 0.3)),
}
"""Those that run as plain modules only."""

QUICK = {
    "sgd": Kind(settings={"source": "accumulated", "every_steps": 5}, late=True),
    "adam": Kind(
        train={"optimizer": "adam", "lr": 0.01, "schedule": "cosine", "augment": "crop-flip"},
        thresholds=(0.3, 0.05),
    ),
    "blown": Kind(train={"lr": 1e12}, thresholds=(0.3,), fractions=(0.2, 0.03, 1.0)),
}
"""Some of it, in seconds."""

NETS = """
from torch import nn


def make(*, in_channels, image_size, classes):
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(4 * 36, classes)
    )
"""
"""Whose masks come from torch's global generator."""
