"""Pull: every parameter is drawn back a little towards what it was at the beginning, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from regrow._checks import check_flag, check_not_negative
from regrow.renewal.network.base import NetworkNeed, NetworkRenewal, NetworkTensor


@final
@dataclass(frozen=True, kw_only=True)
class Pull(NetworkRenewal):
    """Decay towards the values of the beginning instead of 0, apart from the gradient as in AdamW.

        w  <-  w - rate * strength * (w - w_first)

    Args:
        strength: The paper's lambda, at least 0.
        norms: Scales and shifts of normalisation layers too.

    Raises:
        ConfigError: A negative strength, or a flag that is none.

    Examples:
        >>> import torch
        >>> one = NetworkTensor(
        ...     name="weight", value=torch.tensor([3.0]), first=torch.tensor([1.0]), rate=0.5
        ... )
        >>> Pull(strength=0.5).renewed(one)
        tensor([2.5000])
    """

    jumps = False

    strength: float = 0.01
    norms: bool = True

    def __post_init__(self) -> None:
        check_not_negative(self.strength, name="strength", where="pull")
        check_flag(self.norms, name="norms", where="pull")

    @property
    def needs(self) -> frozenset[NetworkNeed]:
        """The values of the beginning."""
        return frozenset({NetworkNeed.FIRST})

    def renewed(self, tensor: NetworkTensor) -> Tensor | None:
        """Pull, unless nothing is to be done."""
        share = tensor.rate * self.strength
        idle = not isinstance(share, Tensor) and share == 0.0
        if idle or tensor.first is None or (tensor.of_norm and not self.norms):
            return None
        return pulled(tensor.value, tensor.first, share=share)


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
