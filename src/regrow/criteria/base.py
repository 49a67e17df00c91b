"""What every criterion offers."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from regrow._shapes import FilterRows, Scores


class Signal(enum.Enum):
    """What a criterion looks at; the loop records no more than that.

    The first two are there at every step. The others (`MEASURED`) are measured on calibration data, where the network
    hears the filter, and only at a step at which a score is due.
    """

    WEIGHTS = "weights"
    GRADIENTS = "gradients"
    ACTIVATIONS = "activations"
    GATES = "gates"
    SILENCED_ACCURACY = "silenced accuracy"
    SILENCED_LOSS = "silenced loss"


MEASURED = frozenset(
    {Signal.ACTIVATIONS, Signal.GATES, Signal.SILENCED_ACCURACY, Signal.SILENCED_LOSS}
)
"""Signals that need calibration data; all but the first need their targets too."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the network hears of each filter, over all examples and positions.

    Attributes:
        activation: Mean of the absolute values.
        zeros: Share of zeros.
    """

    activation: Scores
    zeros: Scores


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Derivatives of each example's loss by a gate of 1 that multiplies what the network hears of a filter.

    They come as their means over the examples: all of them, 5,000 examples of a ResNet-50, would be half a gigabyte.

    Attributes:
        slope: Mean of the absolute values.
        curvature: Half of the mean square: the empirical Fisher's diagonal.
    """

    slope: Scores
    curvature: Scores


@dataclass(frozen=True, kw_only=True)
class Silenced:
    """One number of the network, whole and without each filter.

    Attributes:
        whole: Of the whole network.
        without: Without each filter.
    """

    whole: Float[Tensor, "*S"]
    without: Scores


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one optimizer step shows of one layer.

    Attributes:
        count: Number of filters, O.
        groups: Groups of the layer: filters of different groups read different inputs.
        weight: The layer's weight, one row a filter, or None where the criterion does not ask for it.
        grad: The gradient of the loss with respect to it, or None where it is not asked for or did
            not arrive.
        heard: Its activations, or None where they are not asked for or cannot be measured.
        gates: Derivatives by its filters' gates, or None.
        silenced_accuracy: Accuracy with its filters silenced one by one, or None.
        silenced_loss: Loss with its filters silenced one by one, or None.
    """

    count: int
    groups: int = 1
    weight: FilterRows | None = None
    grad: FilterRows | None = None
    heard: Heard | None = None
    gates: Gates | None = None
    silenced_accuracy: Silenced | None = None
    silenced_loss: Silenced | None = None


CriterionState = dict[str, Tensor]
"""What a criterion remembers of one layer between two scores: tensors only, so that it can be saved safely."""


class Criterion(Protocol):
    """Scores from observations. Configuration is frozen; what is remembered is passed in and out."""

    @property
    def scale_invariant(self) -> bool:
        """Whether the scores stay as they are when all that is observed is multiplied by a number."""
        ...

    @property
    def needs(self) -> frozenset[Signal]:
        """What it looks at."""
        ...

    @property
    def every_step(self) -> bool:
        """Whether each optimizer step must be observed, not only those at which a score is due."""
        ...

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """What is remembered after one more step. Pure: `state` is not changed."""
        ...

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """The scores and what is remembered from here on; None where nothing has been observed."""
        ...
