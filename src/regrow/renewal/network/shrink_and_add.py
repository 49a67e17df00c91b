"""ShrinkAndAdd: a whole network is made smaller, and a share of a fresh one, or of its own beginning, added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from regrow._checks import check_choice, check_not_negative
from regrow.renewal.network.base import NOTHING, NetworkNeed, NetworkRenewal, NetworkTensor


@final
@dataclass(frozen=True, kw_only=True)
class ShrinkAndAdd(NetworkRenewal):
    """Every parameter becomes smaller, and a share of another network's is added.

        w  <-  shrink * w + noise * w_other

    Args:
        shrink: What is left of each parameter, at least 0.
        noise: The share of the other network, at least 0.
        target: The other network. ``fresh``: drawn anew each time, each tensor as its own module draws it. ``initial``:
            what this one was when the recipe was attached.

    Raises:
        ConfigError: A negative number, or another target.

    Edge cases:
        Norm entries are moved like all others: towards what a fresh norm has. Running statistics are left to what they
        average. Copies of the model are moved by the same numbers towards the same values, from where they are.

    Source:
        Ash, Adams, NeurIPS 2020. https://arxiv.org/abs/1910.08475

    Examples:
        >>> import torch
        >>> half = ShrinkAndAdd(shrink=0.5, noise=0.0)
        >>> half.renewed(NetworkTensor(name="weight", value=torch.tensor([2.0])))
        tensor([1.])
    """

    shrink: float = 0.4
    noise: float = 0.1
    target: Literal["fresh", "initial"] = "fresh"

    def __post_init__(self) -> None:
        check_not_negative(self.shrink, name="shrink", where="shrink-perturb")
        check_not_negative(self.noise, name="noise", where="shrink-perturb")
        check_choice(self.target, ("fresh", "initial"), name="target", where="shrink-perturb")

    @property
    def needs(self) -> frozenset[NetworkNeed]:
        """The other network, if anything of it is added."""
        if not self.noise:
            return NOTHING
        return frozenset({NetworkNeed.FRESH if self.target == "fresh" else NetworkNeed.FIRST})

    def renewed(self, tensor: NetworkTensor) -> Tensor | None:
        """Shrink, and add, where the other network's value is known."""
        if not self.noise:
            return shrink_and_add(tensor.value, tensor.value, shrink=self.shrink, add=0.0)
        other = tensor.first if tensor.draw is None else tensor.draw()
        if other is None:
            return None
        return shrink_and_add(
            tensor.value, other.to(tensor.value.device), shrink=self.shrink, add=self.noise
        )


def shrink_and_add(value: Tensor, other: Tensor, *, shrink: float, add: float) -> Tensor:
    """Parameters made smaller, with a share of others added.

        shrink * value + add * other

    What a network has learnt keeps its direction, and gives way to what is new: gradients of old and new examples
    are of one size again.

    Args:
        value: Parameters, of any shape. Read, never written.
        other: What is added, of the same shape: a fresh draw, or the values of the beginning. Read, never written.
        shrink: The paper's lambda; 1: nothing is made smaller.
        add: The paper's gamma; 0: nothing is added.

    Returns:
        In `value`'s dtype; worked out in float32 at least.

    Edge cases:
        The two numbers need not add up to 1: with 0.4 and 0.1 a parameter becomes less than half as large.

    Source:
        Ash, Adams, "On Warm-Starting Neural Network Training", NeurIPS 2020, Section 4.
        https://arxiv.org/abs/1910.08475

    Examples:
        >>> shrink_and_add(torch.tensor([1.0, -2.0]), torch.tensor([0.0, 10.0]), shrink=0.5, add=0.1)
        tensor([0.5000, 0.0000])
    """
    wide = torch.promote_types(value.dtype, torch.float32)
    return (shrink * value.to(wide) + add * other.to(wide)).to(value.dtype)
