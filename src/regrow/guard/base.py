"""What every guard does: it looks at gradients before a step and at parameters after it, and makes some smaller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from regrow.guard.step_parameters import StepParameters


@runtime_checkable
class Guard(Protocol):
    """What one optimizer step may do to a layer. Inherit from it: what is not written is not done.

    A guard has no state: copies and counts are kept by `Guarding`, which calls it.

    Attributes:
        skip_poison: Whether no step is made with a gradient that the optimizer would not get over.
        compares: Whether it must know the parameters as they were before the step.
    """

    skip_poison: bool = False
    compares: bool = False

    @property
    def by_layer(self) -> bool:
        """Whether it looks at each layer on its own; False: at the whole network."""
        return True

    def within(self, moved: StepParameters, most: Sequence[float]) -> bool:
        """Whether the coming step is surely within the limit, so that the parameters need not be copied for it.

        Args:
            moved: The parameters of this step.
            most: The largest length that the step of each of them can have.

        Returns:
            True only where that is so.
        """
        del moved, most
        return False

    def clip_(
        self, moved: StepParameters, grads: Sequence[Tensor], *, scale: Tensor | None
    ) -> Tensor | None:
        """Make gradients smaller, in place, before the optimizer sees them.

        Args:
            moved: The parameters of this step.
            grads: Their gradients. Written where there is something to clip.
            scale: What they are still multiplied by; None: by nothing.

        Returns:
            By layer of `moved` (or one for the network) whether it was clipped; None: nothing was.
        """
        del moved, grads, scale

    def limit_(self, moved: StepParameters, before: Sequence[Tensor]) -> Tensor | None:
        """Take back, in place, what the step has moved too far.

        Args:
            moved: The parameters of this step. Written where they are beyond the limit.
            before: As they were; empty unless it `compares`.

        Returns:
            By layer of `moved` (or one for the network) whether it was limited; None: nothing was.
        """
        del moved, before
