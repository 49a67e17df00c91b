"""Heads and low-rank updates that start at 0: nothing comes back through them at first, and nobody is dead."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from harm.parts import (
    CLASSES,
    PLAIN_PLACES,
    SIZE,
    cnn,
    digits,
    frozen,
    vectors,
    zeroed,
)
from harm.registry import (
    Kill,
    Place,
    Situation,
    adamw,
    situation,
)


@situation
def zero_head() -> Situation:
    """The head of a CNN starts at 0."""

    def build() -> nn.Module:
        model = cnn()
        zeroed(model[5])
        return model

    return Situation(
        build=build, data=digits, places=PLAIN_PLACES, kills=(Kill(layer="2", unit=3),)
    )


@cache
def _pretrained() -> dict[str, Tensor]:
    model, (x, y) = cnn(), digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.state_dict()


@situation
def fresh_head_over_pretrained() -> Situation:
    """A trained backbone gets a fresh head of zeros."""

    def build() -> nn.Module:
        model = cnn()
        model.load_state_dict(_pretrained())
        zeroed(model[5])
        return model

    return Situation(
        build=build,
        data=digits,
        places=PLAIN_PLACES,
        optimizer=adamw,
        kills=(Kill(layer="0", unit=1, step=12),),
    )


class _Adapted(nn.Module):
    """A frozen layer with a low-rank update whose second half starts at 0."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.base = frozen(nn.Linear(fan_in, fan_out))
        self.down = nn.Linear(fan_in, 3, bias=False)
        self.up = zeroed(nn.Linear(3, fan_out, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both."""
        return self.base(x) + self.up(self.down(x))


@situation
def lora() -> Situation:
    """LoRA over a frozen network: B starts at 0."""

    def build() -> nn.Module:
        return nn.Sequential(
            *(_Adapted(SIZE, 16), nn.ReLU(), _Adapted(16, 16), nn.ReLU()), nn.Linear(16, CLASSES)
        )

    return Situation(
        build=build,
        data=vectors,
        places={
            f"{n}.{half}": Place(module=f"{n}.{half}") for n in (0, 2) for half in ("down", "up")
        },
        spared=frozenset({"0.up", "2.up"}),
        optimizer=adamw,
    )
