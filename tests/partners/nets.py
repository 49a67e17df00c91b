"""Networks for the tests of grafting, what belongs to whom in them by hand, and small training loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import regrow

EXAMPLE = torch.zeros(2, 1, 8, 8)
EPOCH = 4
Make = Callable[[nn.Module], torch.optim.Optimizer]


class Plain(nn.Module):
    """Two convolutions with their norms, and a head."""

    wired_as_shown = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores."""
        maps = self.bn1(self.conv1(images)).relu()
        return self.head(self.bn2(self.conv2(maps)).relu().mean((2, 3)))


class Residual(nn.Module):
    """A norm behind a sum of two convolutions, one of them with a name of its own kind; a number that nobody claims."""

    wired_as_shown = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 5, 3, bias=False), nn.BatchNorm2d(5)
        self.conv2, self.short = nn.Conv2d(5, 6, 3, padding=1), nn.Conv2d(5, 6, 1)
        self.bn2, self.head = nn.BatchNorm2d(6), nn.Linear(6, 3)
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        """Class scores."""
        maps = self.bn1(self.conv1(images)).relu()
        joined = self.bn2(self.conv2(maps) + self.short(maps)).relu()
        return self.head(joined.mean((2, 3))) * self.temperature


class Depthwise(nn.Module):
    """A convolution, a depthwise and a pointwise one, each with a norm."""

    wired_as_shown = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.depth, self.bn2 = nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.BatchNorm2d(4)
        self.point, self.bn3 = nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores."""
        maps = self.bn1(self.conv1(images)).relu()
        maps = self.bn2(self.depth(maps)).relu()
        return self.head(self.bn3(self.point(maps)).relu().mean((2, 3)))


def _norm(name: str, *owners: str) -> dict[str, tuple[str, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": owners for part in parts}


def _layer(name: str) -> dict[str, tuple[str, ...]]:
    return {f"{name}.{part}": (f"{name}.weight",) for part in ("weight", "bias")}


TABLES: dict[type[nn.Module], dict[str, tuple[str, ...]]] = {
    Plain: {
        **_layer("conv1"),
        **_norm("bn1", "conv1.weight"),
        **_layer("conv2"),
        **_norm("bn2", "conv2.weight"),
        **_layer("head"),
    },
    Residual: {
        **_layer("conv1"),
        **_norm("bn1", "conv1.weight"),
        **_layer("conv2"),
        **_layer("short"),
        **_norm("bn2", "conv2.weight", "short.weight"),
        **_layer("head"),
    },
    Depthwise: {
        **_layer("conv1"),
        **_norm("bn1", "conv1.weight"),
        **_layer("depth"),
        **_norm("bn2", "depth.weight"),
        **_layer("point"),
        **_norm("bn3", "point.weight"),
        **_layer("head"),
    },
}
"""Whose share each tensor takes in mode 'paper', by hand. Counters are in no line: they are copied."""


def random(
    build: Callable[[], nn.Module], seed: int, *, dtype: torch.dtype = torch.float64
) -> nn.Module:
    """A network in which every number is random, running statistics and counters too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().to(dtype)
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    value.copy_(torch.randn_like(value) * (1 + seed % 3))
                    if "running_var" in name:
                        value.abs_().add_(0.1)
                else:
                    value.fill_(10 + seed)
    return model


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.Optimizer:
    """Momentum and weight decay."""
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-3)


def attach(
    models: Sequence[nn.Module],
    optimizers: Sequence[Any] | None = None,
    *,
    example: Tensor = EXAMPLE,
    hooks: bool = False,
    wiring: Any = None,
    **settings: Any,
) -> regrow.Grafter:
    """Filter Grafting of all of them; without hooks, unless told."""
    dtype = next(models[0].parameters()).dtype
    return regrow.attach_partners(
        regrow.FilterGrafting(partners=len(models), **settings),
        models,
        [sgd(model) for model in models] if optimizers is None else optimizers,
        example_inputs=example.to(dtype) if wiring is None else None,
        wiring=wiring,
        steps_per_epoch=EPOCH if hooks else None,
        hooks=hooks,
    )


def batch(step: int, *, network: int = 0, size: int = 6) -> tuple[Tensor, Tensor]:
    """Images of one step, in the order of one network."""
    generator = torch.Generator().manual_seed(1000 * step + network)
    images = torch.randn(size, 1, 8, 8, generator=generator)
    return images, torch.randint(0, 3, (size,), generator=generator)


def step_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, step: int, *, network: int = 0
) -> None:
    """One training step."""
    images, labels = batch(step, network=network)
    images = images.to(next(model.parameters()).dtype)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()


def train(
    models: Sequence[nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    steps: int,
    *,
    start: int = 0,
) -> None:
    """All networks in turn, step by step, each with images of its own."""
    for step in range(start, start + steps):
        for k, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
            step_of(model, optimizer, step, network=k)


def copies(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers as they are now."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    """Names of tensors that have not the same bits."""
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]
