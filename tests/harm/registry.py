"""What a situation is: a small network, how it is trained, where its units are heard, and what is true of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

Data = tuple[Tensor, Tensor]
Heard = dict[str, list[Tensor]]
"""By layer: what its units give, each tensor with the examples at axis 0 and the units at axis 1."""


sgd: Final = partial(SGD, lr=0.05, momentum=0.9)
adam: Final = partial(Adam, lr=3e-3)
adamw: Final = partial(AdamW, lr=3e-3)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a layer's units are heard: at the output of a module.

    Attributes:
        module: Its path.
        then: What the forward pass does with that before anybody reads it.
        axis: The axis of the units.
        first: Where the layer's units begin on it.
    """

    module: str
    then: Callable[[Tensor], Tensor] = torch.Tensor.clone
    axis: int = 1
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A unit that is killed by hand, before the forward pass of a step.

    Attributes:
        layer: Its path.
        unit: Its index.
        step: When.
        weight: All its weights; None leaves them.
        norms: The norms whose shift is set, with the channel there; without any it is the layer's bias.
        shift: What bias or shifts become.
        scale: What the norms' scale becomes; None leaves it.
        hidden: A penalty in the loss gives it a gradient all the same.
        limit: The steps in which it must be found, where the issue's limits do not say it.
        judged: False: passes take another way than the one that was traced, so that nobody in the layer can be judged;
            the report must say so.
        needs_frozen: Recipes whose renewal would have to change what nobody trains there, so that they leave the layer
            alone; the report must say so.
    """

    layer: str
    unit: int
    step: int = 0
    weight: float | None = 0.0
    norms: Sequence[tuple[str, int]] = ()
    shift: float = -100.0
    scale: float | None = None
    hidden: bool = False
    limit: int | None = None
    judged: bool = True
    needs_frozen: Sequence[str] = ()

    def __call__(self, model: nn.Module) -> None:
        """Write it into the model."""
        with torch.no_grad():
            if self.weight is not None:
                model.get_parameter(f"{self.layer}.weight")[self.unit] = self.weight
            if not self.norms:
                model.get_parameter(f"{self.layer}.bias")[self.unit] = self.shift
            for path, channel in self.norms:
                model.get_parameter(f"{path}.bias")[channel] = self.shift
                if self.scale is not None:
                    model.get_parameter(f"{path}.weight")[channel] = self.scale


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """Units of a layer that must be left alone, and named where they stay so.

    Attributes:
        units: Their indices; None: all of the layer.
        cause: The module path that the report must name; None: the layer's own.
        named: Whether they are so for good, and must be named.
        until: The unit, with its layer, with whose renewal that ends; None: it does not.
    """

    units: tuple[int, ...] | None = None
    cause: str | None = None
    named: bool = True
    until: tuple[str, int] | None = None


@dataclass(kw_only=True)
class Turn:
    """One step of a training: what a situation's loop gets.

    Attributes:
        model: In training mode.
        optimizer: Its optimizer; the judge calls `step`.
        x: The batch.
        y: Its targets.
        step: From 0.
        memory: Kept from turn to turn.
    """

    model: nn.Module
    optimizer: Optimizer
    x: Tensor
    y: Tensor
    step: int
    memory: dict[str, Any]


def classify(turn: Turn) -> None:
    """The ordinary loop: cross entropy of the model's answers."""
    turn.optimizer.zero_grad()
    nn.functional.cross_entropy(turn.model(turn.x), turn.y).backward()


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A training in which gradients say little of who is dead.

    Attributes:
        build: Makes the network.
        data: The training set.
        places: Where each layer's units are heard, by layer; a string is a module's output as it is.
        heard: Instead of `places`: a forward pass of its own over a network and the training set.
        turn: Gradients of one step: `zero_grad`, forward and backward pass.
        optimizer: Made of parameters.
        trained: The parameters that the optimizer holds; those that want a gradient.
        batch: Examples of a step.
        steps: Optimizer steps.
        kills: Units that are killed by hand and must be found.
        blocked: Units behind a factor of 0, by layer.
        starved: Units that hear a constant, by layer.
        given_up: Units that nothing brings back, by layer.
        patience: Steps after which nobody may be left dead at the end, where the kills' limits do not say it.
        spared: Layers that are on their way, though the oracle cannot see it: they count as living.
        name: Of the function that makes it.
        kind: Of the file that it is in.
        about: One line.
    """

    build: Callable[[], nn.Module]
    data: Callable[[], Data]
    places: Mapping[str, str | Place | tuple[Place, ...]] = field(
        default_factory=dict[str, str | Place | tuple[Place, ...]]
    )
    heard: Callable[[nn.Module, Tensor], Heard] | None = None
    turn: Callable[[Turn], None] = classify
    optimizer: Callable[[list[nn.Parameter]], Optimizer] = sgd
    trained: Callable[[nn.Module], list[nn.Parameter]] = lambda model: [
        each for each in model.parameters() if each.requires_grad
    ]
    batch: int = 32
    steps: int = 44
    kills: tuple[Kill, ...] = ()
    blocked: Mapping[str, Quiet] = field(default_factory=dict[str, Quiet])
    starved: Mapping[str, Quiet] = field(default_factory=dict[str, Quiet])
    given_up: Mapping[str, Quiet] = field(default_factory=dict[str, Quiet])
    patience: int | None = None
    spared: frozenset[str] = frozenset()
    name: str = ""
    kind: str = ""
    about: str = ""


SITUATIONS: Final[dict[str, Situation]] = {}
"""All that have been declared, by name; `harm.situations` imports the files that do."""


def situation(make: Callable[[], Situation]) -> Callable[[], Situation]:
    """Declare the situation that a function makes: its name is the function's, its line the docstring's first."""
    about = (make.__doc__ or "").strip().splitlines()[0]
    kind = make.__module__.rpartition(".")[2]
    other = SITUATIONS.get(make.__name__)
    if other is not None and other.kind != kind:  # pytest may import a file twice
        raise ValueError(f"two situations are called {make.__name__}: in {other.kind} and {kind}")
    SITUATIONS[make.__name__] = replace(make(), name=make.__name__, kind=kind, about=about)
    return make


def places_of(given: str | Place | tuple[Place, ...]) -> tuple[Place, ...]:
    """A situation's short forms, in full."""
    if isinstance(given, str):
        return (Place(module=given),)
    return (given,) if isinstance(given, Place) else given
