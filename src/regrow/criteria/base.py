"""What every criterion offers."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from regrow._shapes import FilterRows, Scores


class Signal(enum.Enum):
    """What a criterion looks at; the loop records no more than that."""

    WEIGHTS = "weights"
    GRADIENTS = "gradients"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one optimizer step shows of one layer.

    Attributes:
        count: Number of filters, O.
        weight: The layer's weight, one row a filter, or None where the criterion does not ask for it.
        grad: The gradient of the loss with respect to it, or None where it is not asked for or did
            not arrive.
    """

    count: int
    weight: FilterRows | None = None
    grad: FilterRows | None = None


CriterionState = dict[str, Tensor]
"""What a criterion remembers of one layer between two scores: tensors only, so that it can be saved safely."""


class Criterion(Protocol):
    """Scores from observations. Configuration is frozen; what is remembered is passed in and out."""

    needs: ClassVar[frozenset[Signal]]
    scale_invariant: ClassVar[bool]

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
