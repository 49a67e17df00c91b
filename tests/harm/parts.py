"""The small modules that situations are made of, and their data."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Final, Literal, TypeVar

import torch
from torch import Tensor, nn

SIZE, CLASSES, EXAMPLES = 12, 4, 384
_Layer = TypeVar("_Layer", bound=nn.Module)


class Chance(nn.Module):
    """Random while it trains; it does nothing where its own `training` is off, whatever is inside it."""


class DropPath(Chance):
    """Stochastic depth: leaves the branch out, for the whole batch or example by example."""

    def __init__(self, p: float, mode: Literal["batch", "row"]) -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        """Zero, or the branch made as much larger."""
        if not self.training:
            return x
        count = 1 if self.mode == "batch" else x.shape[0]
        kept = torch.rand(count, *[1] * (x.ndim - 1)) >= self.p
        return x * kept / (1 - self.p)


class Scale(nn.Module):
    """A learnt factor: one number, or one a channel."""

    def __init__(
        self, value: float, count: int = 1, *, axis: int = -1, trained: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((count,), value), requires_grad=trained)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """The product."""
        shape = [1] * x.ndim
        shape[self.axis] = len(self.weight)
        return x * self.weight.view(shape)


class TanhGate(Scale):
    """A factor that is squashed: tanh(a)."""

    def forward(self, x: Tensor) -> Tensor:
        """The product."""
        return x * self.weight.tanh()


class Residual(nn.Module):
    """x + gate(body(x))."""

    def __init__(self, body: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.body, self.gate = body, gate

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.gate(self.body(x))


def mlp(*sizes: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for n, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        layers += [act()] * (n > 0) + [nn.Linear(fan_in, fan_out)]
    return nn.Sequential(*layers)


def cnn() -> nn.Sequential:
    """Two convolutions and a head, for digits."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(8 * 4, 10)),
    )


PLAIN_PLACES: Final = {"0": "1", "2": "3"}


def conv_norm(fan_in: int, fan_out: int, *, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps the size, and its batch norm."""
    return [
        nn.Conv2d(fan_in, fan_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(fan_out),
    ]


NORMED_PLACES: Final = {"0": "2", "3": "5"}


def normed() -> nn.Sequential:
    """Two convolutions with batch norms, and a head, for digits."""
    return nn.Sequential(
        *(*conv_norm(1, 6, stride=2), nn.ReLU()), *(*conv_norm(6, 8), nn.ReLU()), *pooled(8)
    )


def pooled(channels: int, classes: int = 10) -> list[nn.Module]:
    """A head over the mean of each map."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def zeroed(layer: _Layer) -> _Layer:
    """A layer whose parameters start at 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def frozen(layer: _Layer) -> _Layer:
    """A layer that nobody trains."""
    return layer.requires_grad_(False)


def dice(seed: int) -> torch.Generator:
    """Random numbers of their own."""
    return torch.Generator().manual_seed(seed)


@cache
def vectors(count: int = EXAMPLES, size: int = SIZE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normal vectors, with the classes of a small network that was drawn once."""
    generator = dice(seed)
    x = torch.randn(count, size, generator=generator)
    first = torch.randn(size, 16, generator=generator)
    second = torch.randn(16, CLASSES, generator=generator)
    return x, ((x @ first).relu() @ second).argmax(1)


@cache
def blobs(count: int = EXAMPLES, size: int = SIZE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Classes that are far apart."""
    generator = dice(seed)
    centres = 4 * torch.randn(CLASSES, size, generator=generator)
    y = torch.randint(CLASSES, (count,), generator=generator)
    return centres[y] + 0.3 * torch.randn(count, size, generator=generator), y


@cache
def digits(count: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits, standardised: (N, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images[:count], dtype=torch.float32).view(-1, 1, 8, 8)
    return (x - x.mean()) / x.std(), torch.tensor(labels[:count])


@cache
def sequences(count: int = EXAMPLES, length: int = 5, size: int = 8) -> tuple[Tensor, Tensor]:
    """Sequences of vectors, with the class of the largest mean."""
    x = torch.randn(count, length, size, generator=dice(0))
    return x, x.mean(1)[:, :CLASSES].argmax(1)
