"""NormClip: the gradient of the whole network is clipped by its norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._checks import check_flag, check_positive
from regrow.guard.base import Guard
from regrow.guard.step_parameters import StepParameters, lengths_of


def norm_scale(norm: Float[Tensor, "*S"], *, max_norm: float) -> Float[Tensor, "*S"]:
    """The share of a gradient that clipping by its norm keeps.

        scale = min(1, max_norm / (norm + 1e-6))        as torch.nn.utils.clip_grad_norm_

    Args:
        norm: Of the whole network's gradient. Read, never written.
        max_norm: The largest that is let through, above 0.

    Returns:
        Within (0, 1]; exactly 1 within the limit. NaN for a norm that is NaN.

    Examples:
        >>> norm_scale(torch.tensor([0.5, 4.0]), max_norm=1.0)
        tensor([1.0000, 0.2500])
    """
    return (max_norm / (norm + 1e-6)).clamp(max=1.0)


@final
@dataclass(frozen=True, kw_only=True)
class NormClip(Guard):
    """Clip the gradient of the whole network, of all parameters that the optimizer moves, by its norm.

    See `regrow.functional.norm_scale`.

    Args:
        max_norm: The largest norm, above 0.
        skip_poison: As in `StepLimit`. Off: as published.

    Raises:
        ConfigError: A number that is not above 0.

    Edge cases:
        A gradient within the limit keeps its bits. With several optimizers each has a norm of its own.

    Source:
        Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, Section 3.2.
    """

    max_norm: float = 1.0
    skip_poison: bool = False

    def __post_init__(self) -> None:
        check_flag(self.skip_poison, name="skip_poison", where="norm clip")
        check_positive(self.max_norm, name="max_norm", where="norm clip")

    @property
    def by_layer(self) -> bool:
        """The network is one."""
        return False

    def clip_(
        self, moved: StepParameters, grads: Sequence[Tensor], *, scale: Tensor | None
    ) -> Tensor | None:
        """Whether it was clipped, (1,)."""
        lengths = lengths_of([dense(grad) for grad in grads])
        norm = torch.linalg.vector_norm(lengths).reshape(1)
        if scale is not None:
            norm = norm / scale.to(norm.device)
        kept = norm_scale(norm, max_norm=self.max_norm)
        beyond = ~(kept >= 1)
        if moved.on_cpu and not bool(beyond):
            return None
        for grad in grads:
            (grad._values() if grad.is_sparse else grad).mul_(kept[0].to(grad.device, grad.dtype))
        return beyond


def dense(grad: Tensor) -> Tensor:
    """A gradient's numbers: of a sparse one those that are there, what came several times summed."""
    return grad.coalesce().values() if grad.is_sparse else grad
