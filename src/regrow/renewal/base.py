"""What every renewal takes and gives.

`loop/renewer` asks a `Renewal` for edits, layer by layer, and `surgery/edits` writes them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final, Protocol, Self, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from regrow._shapes import Mask
from regrow.draw import Initialiser
from regrow.graph.filters import Filters
from regrow.schedule import Clock


@dataclass(frozen=True, kw_only=True)
class Edit:
    """New values for some entries of one parameter or buffer.

    Attributes:
        name: Name of the parameter or buffer.
        mask: True where the value is replaced; broadcasts to the tensor's shape.
        value: The new values: a number, or a tensor of the tensor's shape of which only the masked
            entries are used.
        is_parameter: Whether an optimizer may hold state for it.
        fresh: The entries begin anew, and so does what the optimizer remembers of them. False: living entries are
            shifted (a reader's bias that takes over what is removed), and the optimizer goes on with them.
    """

    name: str
    mask: Tensor
    value: Tensor | float
    is_parameter: bool = True
    fresh: bool = True


@dataclass(frozen=True, kw_only=True)
class ReaderActivity:
    """What one reading layer receives, and where a constant can be moved to.

    Attributes:
        mean: (I,), the mean of each input channel (linear: input feature) over examples and positions.
        taps: The share of the kernel's positions that meet at one output position: 1, but for a transposed
            convolution 1 / product of its strides.
        bias: The reader's bias by parameter name, or None.
        running_mean: The running mean of the normalisation that works straight on the reader's output, or None.
        inputs_a_group: Input channels of each of its groups; 1 in a depthwise convolution.
    """

    mean: Float[Tensor, " I"]
    taps: float = 1.0
    inputs_a_group: int = 0
    bias: str | None = None
    running_mean: str | None = None


Activity = Mapping[str, ReaderActivity]
"""By module path of the reading layer; measured on the calibration inputs."""


Tensors = Mapping[str, Tensor]
"""Parameters and buffers by name."""


class Need(Enum):
    """What a renewal must know of a layer beyond its wiring, and what only those that ask for it are told."""

    FIRST = "what the layer began with"
    HEARD = "what the layer heard in the newest training pass"
    HOMOGENEOUS = "what lies between the layer and its readers"


NOTHING: Final[frozenset[Need]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What filters' sums of products are on a batch, over all examples and positions, without bias.

    Attributes:
        mean: Their mean, (O,) float64 on the CPU; 0 where no example came to the layer, and of filters that are not
            marked.
        spread: The same of their standard deviation, not corrected.
    """

    mean: Float[Tensor, " O"]
    spread: Float[Tensor, " O"]


class LayerInput(Protocol):
    """What a layer heard in the newest training pass, all layers in front of it as they are now."""

    def sums(self, weight: Tensor, mask: Mask) -> Sums:
        """What the marked filters would make of it with another weight. With several ranks, each must call it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer as a renewal sees it.

    Attributes:
        filters: Where its filters live.
        initialiser: What fresh filters are drawn from.
        reader_initialisers: The same for the layers that read it, by module path.
        first: The values that its weight and bias began with, by name; None where no renewal asks for them.
        heard: What it heard in the newest training pass; None where no renewal asks for it.
        obstacle: What between its filters and their readers does not give c times as much of c times as much, for c > 0
            (ReLU and pooling do), as was tried; "" where nothing stands there.
        strengths: How far each marked filter is moved towards a fresh one, (O,) within [0, 1], where a graded selection
            says so; None: all the way.
    """

    filters: Filters
    initialiser: Initialiser
    reader_initialisers: Mapping[str, Initialiser]
    first: Tensors | None = None
    heard: LayerInput | None = None
    obstacle: str = "surroundings that were not tried"
    strengths: Tensor | None = None


@runtime_checkable
class Renewal(Protocol):
    """Masks to new values. Inherit from it: then only `edits` is to be written, and readers are left alone."""

    # Whether it goes a part of the way: as far as `Layer.strengths` says, for a graded selection.
    partial: ClassVar[bool] = False

    @property
    def touches_readers(self) -> bool:
        """Whether weights that multiply a renewed filter's output are changed."""
        return False

    @property
    def draws_readers(self) -> bool:
        """Whether fresh values are drawn for the readers too."""
        return False

    @property
    def needs(self) -> frozenset[Need]:
        """What it must be told of a layer: `Layer.first`, `Layer.heard` and `Layer.obstacle`."""
        return NOTHING

    @property
    def moves_means(self) -> bool:
        """Whether what filters gave on the average is moved into their readers, as the criterion remembers it."""
        return False

    @property
    def keeps_output(self) -> bool:
        """Whether the network's output is kept as it is, so that what readers receive must be measured."""
        return False

    def bind(self, clock: Clock, *, where: str) -> Self:
        """Take what it needs of the training's length, once, before training starts: itself where that is nothing."""
        del clock, where
        return self

    def check(self, layer: Layer) -> None:
        """Refuse, before training starts, a layer that it cannot renew."""
        del layer

    def left_alone(self, filters: Filters) -> list[str]:
        """What of a layer's surroundings this renewal cannot touch, one note each."""
        del filters
        return []

    @abstractmethod
    def edits(
        self,
        layer: Layer,
        mask: Mask,
        *,
        params: Mapping[str, Tensor],
        seed: int,
        step: int,
        activity: Activity | None = None,
    ) -> list[Edit]:
        """All edits that renew the marked filters of one layer. Pure: `params` is read, never written."""
