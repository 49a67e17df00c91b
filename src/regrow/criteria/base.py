"""What every criterion offers.

Called by `compose.py`: `observe` at the optimizer's steps, `score` when one is due. The scores go to the selection.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from regrow._shapes import FilterRows, Mask, Scores


class Signal(enum.Enum):
    """What a criterion looks at; the loop records no more than that.

    The first three are there at every step. Activity and means are read in the training's own forward passes; for means
    alone nobody looks who is silent, starved or blocked, which costs less. Deviations come with means, for a criterion
    that says what they are measured from (`CentringCriterion`). The others (`MEASURED`) are measured on calibration
    data, where the network hears the filter, and only at a step at which a score is due.
    """

    WEIGHTS = "weights"
    GRADIENTS = "gradients"
    READERS = "readers"
    ACTIVITY = "activity"
    MEANS = "means"
    DEVIATIONS = "deviations"
    ACTIVATIONS = "activations"
    GATES = "gates"
    EXCHANGES = "exchanges"
    OUTPUT_GRADIENTS = "output gradients"
    PREACTIVATION_GRADIENTS = "pre-activation gradients"
    SILENCED_ACCURACY = "silenced accuracy"
    SILENCED_LOSS = "silenced loss"


MEASURED = frozenset(
    {
        Signal.ACTIVATIONS,
        Signal.GATES,
        Signal.EXCHANGES,
        Signal.OUTPUT_GRADIENTS,
        Signal.PREACTIVATION_GRADIENTS,
        Signal.SILENCED_ACCURACY,
        Signal.SILENCED_LOSS,
    }
)
"""Signals that need calibration data; all but the first need their targets too."""


@dataclass(frozen=True, kw_only=True)
class ActivationStatistics:
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

    Of an exchange the gate multiplies its distance from its mean, so that 0 leaves the mean in its place.

    They come as their means over the examples: all of them, 5,000 examples of a ResNet-50, would be half a gigabyte.

    Attributes:
        slope: Mean of the absolute values.
        curvature: Half of the mean square: the empirical Fisher's diagonal.
    """

    slope: Scores
    curvature: Scores


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One number of the network, whole and without each filter.

    Attributes:
        whole: Of the whole network.
        without: Without each filter.
    """

    whole: Float[Tensor, "*S"]
    without: Scores


@dataclass(frozen=True, kw_only=True)
class LayerActivity:
    """What the training passes of one optimizer step show of one layer's filters, where they give it to their readers.

    It is read before any dropout or stochastic depth, over all micro-batches of the step and all ranks.

    Attributes:
        seen: Filters that gave something, all of which was read, (O,) bool.
        silent: Those that gave one and the same value throughout each pass, (O,) bool; see `regrow.functional.silent`.
        starved: Those that heard nothing but constants, (O,) bool.
        blocked: Those before whose readers a factor of exactly 0 stands that is frozen or has a gradient, (O,) bool.
        examples: How many examples were seen.
        mean: Mean of what they gave, (O,) float64; None where sums are not asked for. Of larger batches it is taken
            over some 16 to 31 examples, evenly spaced.
        size: Mean of the absolute values, the same.
        positive: Share of values above 0, the same.
        deviation: Mean distance of what they gave from a centre, the same; None where nobody asks for it.
        places: Mean of what they gave, place by place, (O, P) for each outlet: P is 1 where a reader hears a filter in
            one channel, and more behind flattening. None where filters have different numbers of places.
        lively: Known without a look at the tensors: all were seen, and nobody was silent.
    """

    seen: Mask
    silent: Mask
    starved: Mask
    blocked: Mask
    examples: int
    mean: Tensor | None = None
    size: Tensor | None = None
    positive: Tensor | None = None
    deviation: Tensor | None = None
    places: tuple[Tensor | None, ...] = ()
    lively: bool = False


class KeepReason(enum.Enum):
    """Why a silent filter is left alone."""

    STARVED = 1
    BLOCKED = 2
    GIVEN_UP = 3


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one optimizer step shows of one layer.

    Attributes:
        count: Number of filters, O.
        groups: Groups of the layer: filters of different groups read different inputs.
        weight: The layer's weight, one row a filter, or None where the criterion does not ask for it.
        grad: The gradient of the loss with respect to it, or None where it is not asked for or did
            not arrive.
        outgoing: Sum of the sizes of the weights that read each filter, (O,); None where it is not asked for, or where
            its readers are not all known.
        activity: What this step's passes show of its filters, or None where it is not asked for or no pass was seen.
        heard: Its activations, or None where they are not asked for or cannot be measured.
        gates: Derivatives by its filters' gates, or None.
        exchanges: The same of gates that leave the mean, or None.
        output_gradient: Mean size of each example's derivative by what the network hears of a filter, (O,); or None.
        preactivation_gradient: The same by what the layer itself gives, in front of norm and activation; or None.
        silenced_accuracy: Accuracy with its filters silenced one by one, or None.
        silenced_loss: Loss with its filters silenced one by one, or None.
    """

    count: int
    groups: int = 1
    weight: FilterRows | None = None
    grad: FilterRows | None = None
    outgoing: Scores | None = None
    activity: LayerActivity | None = None
    heard: ActivationStatistics | None = None
    gates: Gates | None = None
    exchanges: Gates | None = None
    output_gradient: Scores | None = None
    preactivation_gradient: Scores | None = None
    silenced_accuracy: Ablation | None = None
    silenced_loss: Ablation | None = None


CriterionState = dict[str, Tensor]
"""What a criterion remembers of one layer between two scores, in what can be saved safely.

Tensors with one entry a filter in front, and tensors of one element (a running count, say), in whose place a number of
Python's own is taken too.
"""


@runtime_checkable
class Criterion(Protocol):
    """Scores from observations. Configuration is frozen; what is remembered is passed in and out."""

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


class RememberingCriterion(Criterion, Protocol):
    """A criterion whose memory of a filter ends with its renewal."""

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Filters were renewed."""
        ...


class SteadyCriterion(Criterion, Protocol):
    """A criterion whose score is a number for each filter of a layer, or there is none.

    So it need not be asked in a step in which a selection takes nobody, and to score changes nothing that it remembers.
    """

    def is_scored(self, state: CriterionState) -> bool:
        """Whether a layer has a score."""
        ...


class AveragingCriterion(RememberingCriterion, Protocol):
    """A criterion that knows what filters give on the average, for a renewal that moves it into their readers."""

    def means_of(self, state: CriterionState) -> Mapping[int, Tensor]:
        """(O, P) by the number of the outlet; nothing where that was not seen."""
        ...


class CentringCriterion(RememberingCriterion, Protocol):
    """A criterion that asks how far what filters give is from their own means (`Signal.DEVIATIONS`)."""

    def centre_of(self, state: CriterionState) -> tuple[Tensor | float, Tensor | float]:
        """What is measured from in the coming step, as a and b of: a + b * (mean of the pass)."""
        ...


class WatchingCriterion(RememberingCriterion, Protocol):
    """A criterion that asks for activity only while it has a reason to, and decides when a window has ended."""

    def idle(self, states: Mapping[str, CriterionState]) -> bool:
        """Whether no layer has anything to suspect or to remember."""
        ...

    def suspect(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, int]:
        """Look at what is cheap, at a step at which that is due; and how many numbers in it are none."""
        ...

    def watches(self, state: CriterionState, *, step: int) -> bool:
        """Whether a layer's passes are to be read in a step."""
        ...

    def ripe(self, state: CriterionState) -> bool:
        """Whether a decision is due."""
        ...

    def stirred(self, state: CriterionState) -> tuple[CriterionState, bool]:
        """Whether a renewed filter has come to life since this was last asked."""
        ...

    def encouraged(self, state: CriterionState) -> CriterionState:
        """A neighbouring layer has come to life."""
        ...

    def kept(self, state: CriterionState) -> dict[KeepReason, tuple[int, ...]]:
        """Filters that are left alone, by reason."""
        ...
