"""A training loop around which a guard works, as a loop of the library calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.guard import Guard, Guarding
from traced import traced

Batch = tuple[Tensor, Tensor]


def guarding(guard: Guard, model: nn.Module, example: Tensor, **options: object) -> Guarding:
    """A guard for a model, by its trace."""
    return Guarding(guard, model, traced(model, example), **options)  # type: ignore[arg-type]


def drive(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    guard: Guarding | None = None,
    *,
    spoil: Callable[[int], None] = lambda step: None,
) -> list[bool]:
    """Train; `spoil` may do something to the gradients. Which steps were made."""
    made: list[bool] = []
    for step, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        spoil(step)
        made.append(guard is None or guard.before_step_(optimizer))
        optimizer.step()
        if guard is not None:
            guard.after_step_(optimizer)
    return made


def noise(
    count: int, *shape: int, classes: int = 3, size: int = 8, dtype: torch.dtype = torch.float32
) -> list[Batch]:
    """Random batches with random labels."""
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(size, *shape, generator=generator, dtype=dtype),
            torch.randint(0, classes, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def bits(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states have the same bits, zeros with their signs and NaN included."""
    return one.keys() == other.keys() and all(
        torch.equal(_bytes(value), _bytes(other[name])) for name, value in one.items()
    )


def _bytes(value: Tensor) -> Tensor:
    return value.reshape(-1).view(torch.uint8)
