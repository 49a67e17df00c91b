"""A small dense network, and what is done to it: for the recipes that renew hidden units."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from traced import attach_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)


def dense(seed: int = 0, *, width: int = 8) -> nn.Sequential:
    """Two hidden layers behind images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 3),
        )


def kill(layer: Any, *units: int) -> None:
    """A ReLU behind it gives 0 for every image."""
    with torch.no_grad():
        layer.weight[list(units)] = 0.0
        layer.bias[list(units)] = -1.0


def train(
    model: nn.Module,
    batches: list[tuple[Tensor, Tensor]],
    recipe: regrow.Recipe,
    *,
    lr: float = 1e-3,
    **told: Any,
) -> regrow.Regrower:
    """SGD without momentum, small steps: who is dead stays so by itself."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, **told)
    steps(model, optimizer, batches)
    return regrower


def steps(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[tuple[Tensor, Tensor]]
) -> None:
    for images, labels in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()


def is_plain_training(recipe: regrow.Recipe, batches: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether a training with this recipe, in which two units are dead, is bit for bit one without."""
    ends: list[list[Tensor]] = []
    for attached in (True, False):
        model = dense()
        kill(model[1], 2)
        kill(model[3], 5)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        if attached:
            attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        steps(model, optimizer, batches)
        ends.append([each.detach() for each in model.parameters()])
    return all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def renewed(regrower: regrow.Regrower) -> dict[str, list[int]]:
    """All units that were renewed, by layer."""
    found: dict[str, list[int]] = {}
    for event in regrower.report.events:
        found.setdefault(event.layer, []).extend(event.filters)
    return found
