"""Networks of which it is known what is wrong with them: made healthy, and then hurt by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regrow.health import Health

CLASSES = 5


def images(count: int = 400) -> tuple[Tensor, Tensor]:
    """Standardised noise, and targets."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(count, 3, 8, 8, generator=generator),
        torch.randint(CLASSES, (count,), generator=generator),
    )


class Cnn(nn.Module):
    """Two convolutions with norms, a dense hidden layer, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.two = nn.Conv2d(8, 12, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.dense = nn.Linear(12 * 16, 10)
        self.head = nn.Linear(10, CLASSES)
        with (
            torch.no_grad()
        ):  # everybody fires on about half of what it hears: who does not has been hurt
            self(images()[0])
            self.eval()
            x = self.norm(self.one(images()[0])).relu()
            self.two.bias -= self.two(x).mean((0, 2, 3))
            self.dense.bias -= self.dense(self._features(images()[0])).mean(0)
            self.train()

    def _features(self, x: Tensor) -> Tensor:
        x = self.norm(self.one(x)).relu()
        return self.pool(self.two(x).relu()).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        return self.head(self.dense(self._features(x)).relu())


class Mlp(nn.Module):
    """Two hidden layers of an activation."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.one = nn.Linear(3 * 64, 20)
        self.two = nn.Linear(20, 16)
        self.head = nn.Linear(16, CLASSES)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        x = self.activation(self.one(x.flatten(1)))
        return self.head(self.activation(self.two(x)))


class Vit(nn.Module):
    """A patch embedding, torch's own transformer layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.patch = nn.Conv2d(3, 16, 4, stride=4)
        self.place = nn.Parameter(0.1 * torch.randn(4, 16))
        self.block = Block(16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        x = self.patch(x).flatten(2).mT + self.place
        return self.head(self.block(x).mean(1))


class Block(nn.Module):
    """Attention and an MLP, each behind a norm and on a residual stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """A stream to a stream."""
        query, key, value = self.qkv(self.first(x)).chunk(3, -1)
        x = x + self.proj(nn.functional.scaled_dot_product_attention(query, key, value))
        return x + self.down(nn.functional.gelu(self.up(self.second(x))))


class Lora(nn.Module):
    """A dense layer with an adapter whose second half begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.base = nn.Linear(3 * 64, 12)
        self.down = nn.Linear(3 * 64, 4, bias=False)
        self.up = nn.Linear(4, 12, bias=False)
        self.head = nn.Linear(12, CLASSES)
        nn.init.zeros_(self.up.weight)
        nn.init.constant_(self.base.bias, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        x = x.flatten(1)
        return self.head((self.base(x) + self.up(self.down(x))).relu())


class Tied(nn.Module):
    """One dense layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.into = nn.Linear(3 * 64, 12)
        self.again = nn.Linear(12, 12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        x = nn.functional.gelu(self.into(x.flatten(1)))
        return self.head(nn.functional.gelu(self.again(nn.functional.gelu(self.again(x)))))


class Normed(nn.Module):
    """Three dense layers: one in front of a norm, one that another one's gate multiplies, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.one = nn.Linear(3 * 64, 20)
        self.norm = nn.LayerNorm(20)
        self.value, self.gate = nn.Linear(20, 16), nn.Linear(20, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        x = nn.functional.gelu(self.norm(self.one(x.flatten(1))))
        return self.head(self.value(x) * self.gate(x).sigmoid())


def named(health: Health) -> set[tuple[str, str]]:
    """What was found, and where."""
    return {(each.measure, each.layer) for each in health.symptoms}
