"""Networks, images and plain training for the engine's tests."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from regrow.nn import GainControl2d

Build = Callable[[], nn.Module]


class Crater(nn.Module):
    """Like the laboratory's CraterCNN, on 8x8 images: calls instead of modules for ReLU and flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 5, 3)
        self.norm1 = nn.Identity()
        self.conv2 = nn.Conv2d(5, 4, 3)
        self.dense = nn.Linear(64, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.norm1(self.conv1(images)))
        maps = F.relu(self.conv2(maps))
        return self.head(self.dense(maps.flatten(1)).relu())


def everything() -> nn.Module:
    """All kinds of layers, with borders, odd sizes and a convolution that is unfolded row by row."""
    return nn.Sequential(
        # No bias where a norm takes it away: its gradient would be rounding, which Adam makes large.
        nn.Conv2d(1, 5, 3, padding=1, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Conv2d(5, 6, (3, 2), padding=(1, 0), bias=False),
        GainControl2d(6, relu=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 2),
        GainControl2d(4, mean_scale=0.5, positive_gain=True, learn_mean_scale=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def streamed() -> nn.Module:
    """The layers of networks for streams of tasks: strides, layer norms, leaky ReLUs."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.LeakyReLU(),
        nn.Conv2d(4, 5, 3, stride=(2, 1), padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(40, 9),
        nn.LayerNorm(9),
        nn.LeakyReLU(0.1),
        nn.Linear(9, 6),
        nn.LayerNorm(6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )


def several(build: Build, count: int, *, dtype: torch.dtype) -> list[nn.Module]:
    """Networks of seeds 0, 1, ..., with no number at its plain start."""
    found: list[nn.Module] = []
    with torch.random.fork_rng():
        for seed in range(count):
            torch.manual_seed(seed)
            model = build().to(dtype)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.05)
            found.append(model)
    return found


def copies(models: Sequence[nn.Module], *, dtype: torch.dtype | None = None) -> list[nn.Module]:
    """The same networks with memory of their own."""
    found = [copy.deepcopy(model) for model in models]
    for model in found:
        for parameter in model.parameters():
            parameter.grad = None
    return found if dtype is None else [model.to(dtype) for model in found]


def batch(
    *shape: int, classes: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Random images (*shape) and a label for each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
    leading = shape[:2] if len(shape) == 5 else shape[:1]
    return images, torch.randint(0, classes, leading, generator=generator)


def plain_gradients(
    model: nn.Module, images: Tensor, labels: Tensor, *, reduction: str = "mean"
) -> tuple[Tensor, int, dict[str, Tensor]]:
    """What autograd says: loss, right answers, gradients."""
    outputs = model(images)
    loss = F.cross_entropy(outputs, labels, reduction=reduction)
    names, parameters = zip(*model.named_parameters(), strict=True)
    grads = torch.autograd.grad(loss, parameters)
    right = int((outputs.argmax(1) == labels).sum())
    return loss.detach(), right, dict(zip(names, grads, strict=True))
