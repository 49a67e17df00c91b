"""What an engine does for one network of a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from torch import Tensor
from torch.optim import Optimizer

from regrow.loop import Regrower

Beside: TypeAlias = Callable[[Tensor], Sequence[Tensor]]
"""What is added to the loss, by the network's outputs."""


class Steps(Protocol):
    """The training steps of one network."""

    optimizer: Optimizer

    def gradients(self, images: Tensor, labels: Tensor, beside: Beside) -> tuple[Tensor, Tensor]:
        """Work the gradients of a batch out, in place of those that were there.

        Args:
            images: (B, C, H, W).
            labels: Classes, (B,).
            beside: What is added to the loss.

        Returns:
            The loss of the classes alone, as the training reduces it, and the number of right predictions: tensors
            with one element.
        """
        ...

    def step(self, regrower: Regrower | None) -> None:
        """Move the network along its gradients, with the recipe at work around it.

        Args:
            regrower: The recipe; None without one.
        """
        ...
