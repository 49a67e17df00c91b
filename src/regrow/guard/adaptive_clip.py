"""AdaptiveClip: a unit's gradient is clipped by the length of the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from regrow._checks import check_flag, check_positive
from regrow.functional.clipping import adaptive_scale
from regrow.guard.base import Guard
from regrow.guard.step_parameters import Part, StepParameters


@final
@dataclass(frozen=True, kw_only=True)
class AdaptiveClip(Guard):
    """Clip each unit's gradient to a share of the unit's length (adaptive gradient clipping, AGC).

        g_u  <-  g_u * clip * max(norm(w_u), eps) / norm(g_u)     where norm(g_u) > clip * max(norm(w_u), eps)

    A unit is one filter: all weights that one output is made of, whichever axis they lie along (in a linear layer, a
    grouped and a transposed convolution too). A vector (a bias, a norm's scale) is one unit as a whole.

    Args:
        clip: The largest ratio of the two lengths, above 0. The paper's 0.01; larger for small batches.
        eps: The least length of a unit, above 0.
        heads: Clip the output layer too. The paper leaves it out.
        skip_poison: As in `StepLimit`. Off: as published.

    Raises:
        ConfigError: A number that is not above 0, or a flag that is neither true nor false.

    Edge cases:
        A sparse gradient is not clipped. A gradient within the limit keeps its bits.

    Source:
        Brock, De, Smith, Simonyan, ICML 2021, Section 4. https://arxiv.org/abs/2102.06171 Ports that take the first
        axis for the units of every tensor, or the inputs of a linear layer, clip something else.
    """

    clip: float = 0.01
    eps: float = 1e-3
    heads: bool = False
    skip_poison: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_flag(self.skip_poison, name="skip_poison", where="adaptive clip")
        check_flag(self.heads, name="heads", where="adaptive clip")
        check_positive(self.clip, name="clip", where="adaptive clip")
        check_positive(self.eps, name="eps", where="adaptive clip")

    def clip_(
        self, moved: StepParameters, grads: Sequence[Tensor], *, scale: Tensor | None
    ) -> Tensor | None:
        """Clip.

        Args:
            moved: The parameters of this step.
            grads: Their gradients. Written where a unit's is too long.
            scale: What they are still multiplied by.

        Returns:
            By layer whether one of its units was clipped; None: none was.
        """
        hit = [torch.zeros((), dtype=torch.bool, device=grads[0].device)] * len(moved.groups)
        for part, grad, place in zip(moved.parts, grads, moved.place, strict=True):
            if grad.is_sparse or (part.group.is_head and not self.heads):
                continue
            weight = _units(part, part.parameter.detach())
            slopes = _units(part, grad)
            kept = adaptive_scale(
                weight,
                slopes if scale is None else slopes / scale.to(slopes.device),
                clip=self.clip,
                eps=self.eps,
            )
            beyond = (kept < 1).any()
            if not moved.on_cpu or bool(beyond):
                grad.mul_((kept[0] if len(kept) == 1 else part.spread(kept)).to(grad.dtype))
                hit[place] = hit[place] | beyond.to(hit[place].device)
        flags = torch.stack(hit)
        return flags if not moved.on_cpu or bool(flags.any()) else None


def _units(part: Part, tensor: Tensor) -> Tensor:
    """One row a unit; a vector is one."""
    is_vector = part.filters is None and part.parameter.numel() == part.group.units
    return tensor.reshape(1, -1) if is_vector else part.unit_rows(tensor)
