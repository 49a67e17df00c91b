"""What all layers of the engine are: two buffers, and a pass in each direction between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from regrow.engine.memory import Memory
from regrow.engine.places import Places
from regrow.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where a layer is at work."""

    places: Places  # how its activations lie
    memory: Memory  # of the networks
    # The networks, for what can change between two steps: whether a norm is in training.
    models: Sequence[nn.Module]
    learns: bool  # there will be a backward pass

    def value(self, path: str, name: str) -> Tensor:
        """A parameter or buffer of all networks, (N, *shape): a view of the memory."""
        whole = f"{path}.{name}"
        rows = self.memory.parameters
        return rows.all(whole) if whole in rows.names else self.memory.buffers.all(whole)

    def gradient(self, path: str, name: str) -> Tensor:
        """The gradient of a parameter of all networks, (N, *shape): a view of the memory."""
        return self.memory.gradients.all(f"{path}.{name}")


class Layer(ABC):
    """One step of a program, for one size of batch.

    All buffers are there from the start, and are written anew in each pass. The forward pass reads the output of the
    layer before, the backward pass this layer's `grad`, which the next one has filled; both leave them as they are,
    but for layers that work in place.
    """

    out: Tensor  # the output, (N, T, C, H, W, b), or (N, F, B) behind a flatten
    grad: Tensor | None  # its gradient, of the same shape; not there where nobody needs it
    owned: bool = True  # `out` is memory of this stack's layers, and may be overwritten

    @abstractmethod
    def forward(self) -> None:
        """Fill `out`."""

    @abstractmethod
    def backward(self) -> None:
        """Fill the gradients of the parameters, and that of the input where it is needed."""


class Portions(Layer):
    """A layer that works on a portion of networks and samples after the other, by what is made ready for each once."""

    def __init__(self) -> None:
        self._forward: list[Callable[[], None]] = []
        self._backward: list[Callable[[], None]] = []

    def forward(self) -> None:
        """Portion by portion."""
        for run in self._forward:
            run()

    def backward(self) -> None:
        """Portion by portion."""
        for run in self._backward:
            run()


class Images(Layer):
    """The images themselves; where they are `shared`, all networks see the same ones."""

    owned = False

    def __init__(self, places: Places, shape: tuple[int, ...], *, shared: bool) -> None:
        self.grad = None
        one = 1 if shared else places.networks
        tiles = places.tiles if len(shape) == 3 else 1
        tile = places.samples // tiles
        self._one = places.zeros(one, tiles, *shape, tile)
        wide = self._one.expand(places.networks, *self._one.shape[1:])
        self.out = wide if len(shape) == 3 else wide[:, 0]
        # (..., pixels, samples): turning matrices is faster than moving an axis of many to the back.
        self._flat = self._one.flatten(2, -2)
        self._parts = () if places.batched else tuple(self._flat.flatten(0, 1))

    @property
    def columns(self) -> Tensor | None:
        """The memory of the images, (N, pixels, samples); None where a batch lies in several tiles."""
        return self._flat[:, 0] if self._flat.shape[1] == 1 else None

    def take(self, images: Tensor) -> None:
        """Turn a batch's axes: images (N, B, *shape), or (B, *shape) where all networks see the same ones."""
        one, tiles, pixels, samples = self._flat.shape
        if not self._parts:
            self._flat.copy_(images.reshape(one, tiles, samples, pixels).mT)
        elif len(self._parts) == 1:
            self._parts[0].copy_(images.reshape(samples, pixels).t())
        else:
            for part, rows in zip(
                self._parts, images.reshape(-1, samples, pixels).unbind(), strict=True
            ):
                part.copy_(rows.t())

    def forward(self) -> None:
        """Nothing: `take` has filled `out`."""

    def backward(self) -> None:
        """Nothing: nobody asks for an image's gradient."""


def maps_of(source: Layer, *, channels: int, path: str) -> tuple[int, int]:
    """Height and width of the maps that a layer reads; a ShapeError where they have other channels, or are none."""
    shape = tuple(source.out.shape)
    if len(shape) != 6 or shape[2] != channels:
        found = f"{shape[2]} channels" if len(shape) == 6 else f"{shape[1]} features"
        raise ShapeError(f"'{path}' must read maps of {channels} channels, got {found}")
    return shape[3], shape[4]


def features_of(source: Layer, *, features: int, path: str) -> tuple[int, ...]:
    """The shape of what a dense layer or its norm reads; a ShapeError where it has other features, or is maps."""
    shape = tuple(source.out.shape)
    if len(shape) != 3 or shape[1] != features:
        found = f"{shape[1]} features" if len(shape) == 3 else "maps: flatten them before"
        raise ShapeError(f"'{path}' must read {features} features, got {found}")
    return shape


def gradient_memory(source: Layer, setting: Setting, out: Tensor) -> Tensor | None:
    """Memory for the gradient of the output of a layer without parameters; None where no layer before has any."""
    return None if source.grad is None else setting.places.zeros(*out.shape)
