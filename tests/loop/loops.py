"""Small training loops for the tests of what a loop can contain: each feature on and off, the rest the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

import regrow

Batches = Sequence[tuple[torch.Tensor, torch.Tensor]]
Make = Callable[[nn.Module], torch.optim.Optimizer]
EXAMPLE = torch.zeros(2, 1, 8, 8)


def sgd(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    """Momentum and weight decay."""
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, **options)


def adam(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    """The step count is shared by a whole tensor: renewed entries are corrected for a while."""
    return torch.optim.Adam(model.parameters(), lr=0.01, **options)


def often(**settings: Any) -> regrow.Recipe:
    """A recipe that renews living filters again and again."""
    chosen = {
        "confirm": "gradient",
        "threshold": 0.3,
        "every_steps": 2,
        "active_fraction": 1.0,
        **settings,
    }
    return regrow.RandomOut(**chosen)


def kill(model: nn.Module, *filters: int) -> None:
    """Make filters of the second convolution silent on every input: their gradient is exactly 0."""
    with torch.no_grad():
        for index in filters:
            model[3].weight[index] = 0.0  # type: ignore[index]
            model[3].bias[index] = -1.0  # type: ignore[index]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    *,
    scaler: torch.amp.GradScaler | None = None,
    autocast: torch.dtype | None = None,
    factor: Callable[[int], float] = lambda step: 1.0,
    before_step: Callable[[], object] = lambda: None,
    set_to_none: bool = True,
    cast: Callable[[torch.Tensor], torch.Tensor] = lambda images: images,
) -> None:
    """One optimizer step a batch.

    Args:
        model: Trained.
        optimizer: Holds its parameters.
        batches: Images and labels.
        scaler: Scales the loss.
        autocast: Run the forward pass in this type.
        factor: Multiplies the loss of each step.
        before_step: Called between the backward pass and the step.
        set_to_none: As `Optimizer.zero_grad` takes it.
        cast: Applied to the images.
    """
    for step, (images, labels) in enumerate(batches):
        optimizer.zero_grad(set_to_none=set_to_none)
        inside = (
            contextlib.nullcontext() if autocast is None else torch.autocast("cpu", dtype=autocast)
        )
        with inside:
            loss = nn.functional.cross_entropy(model(cast(images)).float(), labels)
        loss = loss * factor(step)
        (loss if scaler is None else scaler.scale(loss)).backward()
        before_step()
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Every tensor equal, bit for bit."""
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, different


def marked(regrower: regrow.Regrower) -> list[tuple[int, str, tuple[int, ...]]]:
    """The decisions without their scores."""
    return [(event.step, event.layer, event.filters) for event in regrower.report.events]
