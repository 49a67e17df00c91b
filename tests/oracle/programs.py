"""Networks that nobody thought of: a seed draws layers, and what is done with what they give.

Every step takes one or two of the tensors that there are, and gives one more. What nobody took in the end goes into the
output's layer. Weights are used again at random, and so are biases and norms where their number of channels fits.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from oracle.networks import Network

_SIZE = 6
_KINDS = (
    *("conv", "conv", "again", "again", "grouped", "up", "norm", "norm", "add", "add"),
    *("gate", "input", "cat", "cut", "turn", "pool", "wave"),
)
_Step = Callable[["Program", list[Tensor]], Tensor]


class Program(nn.Module):
    """Layers, and steps over a growing list of tensors of one size."""

    def __init__(self, seed: int, *, steps: int = 6) -> None:
        super().__init__()
        self._dice = random.Random(seed)  # noqa: S311 # no secret
        self.parts = nn.ModuleDict()
        self._steps: list[_Step] = []
        self.said: list[str] = []
        with torch.no_grad():
            made = [torch.zeros(2, 3, _SIZE, _SIZE)]
            self._loose = {0}
            self._add(made, self._convolution(made, 0))
            for _ in range(steps):
                self._add(made, self._drawn(made))
        self._loose.discard(0)
        self._ends = sorted(self._loose)
        self.parts["head"] = nn.Linear(sum(made[each].shape[1] for each in self._ends), 2)

    def forward(self, x: Tensor) -> Tensor:
        made = [x]
        for step in self._steps:
            made.append(step(self, made))
        return self.parts["head"](torch.cat([made[each].amax((2, 3)) for each in self._ends], 1))

    def _add(self, made: list[Tensor], step: _Step) -> None:
        self._steps.append(step)
        made.append(step(self, made))
        self._loose.add(len(made) - 1)

    def _take(self, made: list[Tensor], *, width: int | None = None) -> int | None:
        fits = [n for n in range(1, len(made)) if width in {None, made[n].shape[1]}]
        if not fits:
            return None
        place = self._dice.choice(fits[-4:])
        self._loose.discard(place)
        return place

    def _drawn(self, made: list[Tensor]) -> _Step:
        kind = self._dice.choice(_KINDS)
        place = self._take(made) or 1
        width = made[place].shape[1]
        self.said.append(f"{kind} {place}")
        if kind in {"conv", "grouped", "up"}:
            return self._convolution(made, place, kind)
        if kind == "again":
            return self._again(made, place)
        if kind == "norm":
            norms = self._there(nn.BatchNorm2d, "num_features", width)
            shared = norms and self._dice.random() < 0.5
            norm = self._dice.choice(norms) if shared else self._named(nn.BatchNorm2d(width))
            return lambda net, made: F.relu(net.parts[norm](made[place]))
        if kind == "add":
            other = self._take(made, width=width) or place
            return lambda net, made: made[place] + made[other]
        return self._moved(kind, made, place)

    def _moved(self, kind: str, made: list[Tensor], place: int) -> _Step:
        width = made[place].shape[1]
        if kind == "input":
            count = min(3, width)
            return lambda net, made: torch.cat(
                [made[place][:, :count] + made[0][:, :count], made[place][:, count:]], 1
            )
        if kind == "cat":
            other = self._take(made) or place
            return lambda net, made: torch.cat([made[other], made[place]], 1)[:, :8]
        if kind == "cut":
            first = self._dice.randrange(width)
            return lambda net, made: made[place].roll(first, 1)[:, : max(1, width // 2)]
        return {
            "turn": lambda net, made: made[place].flip(1).transpose(2, 3),
            "gate": lambda net, made: made[place] * torch.sigmoid(_means(made[place])),
            "pool": lambda net, made: F.max_pool2d(made[place], 3, 1, 1),
            "wave": lambda net, made: torch.tanh(made[place]) - _means(made[place]),
        }[kind]

    def _convolution(self, made: list[Tensor], place: int, kind: str = "conv") -> _Step:
        width = made[place].shape[1]
        groups = width if kind == "grouped" else 2 if kind == "up" and width % 2 == 0 else 1
        count = (
            self._dice.choice([3, 4, 4, 5]) if groups == 1 else groups * self._dice.choice([1, 2])
        )
        make = nn.ConvTranspose2d if kind == "up" else nn.Conv2d
        layer = self._named(make(width, count, 3, padding=1, groups=groups))
        return lambda net, made: F.leaky_relu(net.parts[layer](made[place]))

    def _again(self, made: list[Tensor], place: int) -> _Step:
        """A convolution that is there already."""
        width = made[place].shape[1]
        layers = self._there(nn.Conv2d, "in_channels", width)
        if not layers:
            return self._convolution(made, place)
        layer = self._dice.choice(layers)
        return lambda net, made: F.leaky_relu(net.parts[layer](made[place].flip(2)))

    def _there(self, kind: type[nn.Module], size: str, width: int) -> list[str]:
        return [
            name
            for name, each in self.parts.items()
            if isinstance(each, kind) and getattr(each, size) == width
        ]

    def _named(self, part: nn.Module) -> str:
        name = f"p{len(self.parts)}"
        self.parts[name] = part
        return name


def _means(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def program(seed: int) -> Network:
    """The network of a seed."""
    return Network(
        lambda: Program(seed), f"a random program, seed {seed}", inputs=((2, 3, _SIZE, _SIZE),)
    )
