"""Architectures and activations in which a unit's silence is heard in different places."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from harm.parts import CLASSES, conv_norm, digits, pooled, sequences
from harm.registry import Kill, Place, Quiet, Situation, Turn, adam, adamw, situation

WIDTH = 16


class _Block(nn.Module):
    """x + relu(norm(conv(x))), with the function and not the module."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = conv_norm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + torch.relu(self.norm(self.conv(x)))


@situation
def functional_residual() -> Situation:
    """x + relu(norm(conv(x))), with functional ReLU."""

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), _Block(6), _Block(6), *pooled(6)
        )

    return Situation(
        build=build,
        data=digits,
        places={
            "0": "1",
            **{f"{n}.conv": Place(module=f"{n}.norm", then=torch.relu) for n in (2, 3)},
        },
        kills=(
            Kill(layer="2.conv", unit=5, norms=(("2.norm", 5),)),
            Kill(layer="3.conv", unit=0, step=13, norms=(("3.norm", 0),)),
        ),
    )


@situation
def depthwise() -> Situation:
    """Pointwise, depthwise, pointwise: a depthwise filter behind a dead one hears nobody until that is renewed."""

    def build() -> nn.Module:
        wide = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        return nn.Sequential(
            *(nn.Conv2d(1, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(wide, nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), *pooled(6)),
        )

    return Situation(
        build=build,
        data=digits,
        places={"0": "2", "3": "5", "6": "8"},
        kills=(
            Kill(layer="0", unit=2, norms=(("1", 2),)),
            Kill(layer="3", unit=5, step=12, norms=(("4", 5),)),
        ),
        starved={"3": Quiet(units=(2,), named=False, until=("0", 2))},
        steps=56,
    )


class _Dense(nn.Module):
    """Every layer reads all before it, behind a norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 5, 3, stride=2, bias=False)
        self.norm2, self.second = nn.BatchNorm2d(5), nn.Conv2d(5, 5, 3, padding=1, bias=False)
        self.norm3, self.third = nn.BatchNorm2d(10), nn.Conv2d(10, 5, 3, padding=1, bias=False)
        self.norm4, self.head = nn.BatchNorm2d(15), nn.Linear(15, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate, and again."""
        x = self.first(x)
        x = torch.cat((x, self.second(self.norm2(x).relu())), 1)
        x = torch.cat((x, self.third(self.norm3(x).relu())), 1)
        return self.head(self.norm4(x).relu().mean((2, 3)))


@situation
def dense_concatenation() -> Situation:
    """DenseNet: the units of a layer are heard behind the norm of each of their readers."""
    hear = partial(Place, then=torch.relu)
    return Situation(
        build=_Dense,
        data=digits,
        places={
            "first": (hear(module="norm2"), hear(module="norm3"), hear(module="norm4")),
            "second": (hear(module="norm3", first=5), hear(module="norm4", first=5)),
            "third": hear(module="norm4", first=10),
        },
        kills=(
            Kill(layer="first", unit=3, norms=(("norm2", 3), ("norm3", 3), ("norm4", 3))),
            Kill(layer="second", unit=1, step=10, norms=(("norm3", 6), ("norm4", 6))),
        ),
    )


class _Excited(nn.Module):
    """A convolution whose channels are weighed by what is squeezed from them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv_norm(1, 8, stride=2)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.act, self.squeezed, self.gate = nn.ReLU(), nn.ReLU(), nn.Sigmoid()
        self.last, self.head = nn.Conv2d(8, 6, 3), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze, excite, weigh."""
        x = self.act(self.norm(self.conv(x)))
        weights = self.gate(self.excite(self.squeezed(self.squeeze(x.mean((2, 3))))))
        x = self.last(x * weights[:, :, None, None])
        return self.head(x.relu().mean((2, 3)))


@situation
def squeeze_excitation() -> Situation:
    """The gate of a dead channel has no gradient, and is not dead."""
    return Situation(
        build=_Excited,
        data=digits,
        places={
            "conv": "act",
            "squeeze": "squeezed",
            "excite": "gate",
            "last": Place(module="last", then=torch.relu),
        },
        optimizer=adam,
        kills=(
            Kill(layer="conv", unit=6, norms=(("norm", 6),)),
            Kill(layer="squeeze", unit=1, step=9),
        ),
    )


class _Transformer(nn.Module):
    """One block: attention, and linear layers, each behind a LayerNorm."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.fc1, self.act, self.fc2 = nn.Linear(size, 24), nn.GELU(), nn.Linear(24, size)
        self.head = nn.Linear(size, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, size) to (N, classes)."""
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v))
        x = x + self.fc2(self.act(self.fc1(self.norm2(x))))
        return self.head(x.mean(1))


@situation
def transformer_block() -> Situation:
    """A transformer's block on sequences; the units of its inner layer can be killed."""
    return Situation(
        build=_Transformer,
        data=sequences,
        places={
            **{name: Place(module=name, axis=-1) for name in ("qkv", "out", "fc2")},
            "fc1": Place(module="act", axis=-1),
        },
        optimizer=adamw,
        kills=(Kill(layer="fc1", unit=17, step=5),),
    )


class _Recurring(nn.Module):
    """The same layer for each element of a sequence, one after the other, however long it is."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.each, self.act, self.head = (
            nn.Linear(size, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, size) to (N, classes)."""
        return self.head(torch.stack([self.act(self.each(one)) for one in x.unbind(1)]).mean(0))


def _of_some_length(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    x = turn.x[:, : 2 + turn.step % 4]
    nn.functional.cross_entropy(turn.model(x), turn.y).backward()


@situation
def sequences_of_some_length() -> Situation:
    """A layer is called for each element of a sequence, two to five times from batch to batch."""
    return Situation(
        build=_Recurring,
        data=sequences,
        places={"each": "act"},
        turn=_of_some_length,
        optimizer=adam,
        kills=(Kill(layer="each", unit=12, step=3),),
    )
