"""What every renewal of a whole network does: one parameter in, what becomes of it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final, Protocol, runtime_checkable

from torch import Tensor

from regrow.graph.filters import Filters


class NetworkNeed(Enum):
    """What a network renewal must know of a parameter, and what only those that ask for it are told."""

    FRESH = "what its initialiser draws for it"
    FIRST = "what it was when the recipe was attached"


NOTHING: Final[frozenset[NetworkNeed]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class NetworkTensor:
    """One parameter of a network as a network renewal sees it.

    Attributes:
        name: Parameter name, such as ``layer1.0.conv1.weight``.
        value: What it is now. Read, never written.
        filters: The layer whose weight it is; None: a bias, a norm's scale or shift, or no layer's at all.
        of_norm: Whether it is a normalisation layer's.
        rate: Its learning rate now.
        first: What it was when the recipe was attached; None where nobody asks for it.
        draw: Draws what a fresh network would have in its place, or None where that is not known; None where nobody
            asks for it.
    """

    name: str
    value: Tensor
    filters: Filters | None = None
    of_norm: bool = False
    rate: float | Tensor = 0.0
    first: Tensor | None = None
    draw: Callable[[], Tensor | None] | None = None


@runtime_checkable
class NetworkRenewal(Protocol):
    """What becomes of all parameters of a network at once. Inherit from it: then only `renewed` is to be written."""

    # Whether the network is another one afterwards: then its copies jump too, and so does the optimizer's state. False:
    # it is a part of every step, as weight decay is, which copies follow by themselves.
    jumps: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[NetworkNeed]:
        """What it must be told of a parameter: `NetworkTensor.first` and `NetworkTensor.draw`."""
        return NOTHING

    def renewed(self, tensor: NetworkTensor) -> Tensor | None:
        """What becomes of one parameter. Pure.

        Args:
            tensor: The parameter, and what was asked for.

        Returns:
            Its new value, of the same shape; None: it stays as it is.
        """
        ...
