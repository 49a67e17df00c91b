"""What becomes of a whole network's parameters where they are made smaller, or moved towards other values."""

from __future__ import annotations

import torch
from torch import Tensor


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


def pulled(value: Tensor, centre: Tensor, *, share: float | Tensor) -> Tensor:
    """Parameters moved a share of the way towards other values.

        value - share * (value - centre)

    With share = learning rate * strength this is decoupled weight decay, towards `centre` instead of 0.

    Args:
        value: Parameters, of any shape. Read, never written.
        centre: Where they are pulled to, of the same shape: what they were at the beginning. Read, never written.
        share: Of the way; a number, or a tensor that broadcasts.

    Returns:
        In `value`'s dtype; worked out in float32 at least.

    Edge cases:
        A share of 0, and a value that is the centre: its bits stay.

    Source:
        Kumar, Marklund, Van Roy, "Maintaining Plasticity in Continual Learning via Regenerative Regularization", CoLLAs
        2024 (arXiv 2308.11958), in the decoupled form of Loshchilov, Hutter, ICLR 2019.

    Examples:
        >>> pulled(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]), share=0.25)
        tensor([1.0000, 2.5000])
    """
    wide = torch.promote_types(value.dtype, torch.float32)
    now = value.to(wide)
    return (now - share * (now - centre.to(wide))).to(value.dtype)
