"""AdaptiveClip: a unit's gradient is clipped by the length of the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from regrow._checks import check_flag, check_positive
from regrow._shapes import FilterRows, Scores
from regrow.guard.base import Guard
from regrow.guard.step_parameters import Part, StepParameters


def adaptive_scale(
    weight: FilterRows, grad: FilterRows, *, clip: float, eps: float = 1e-3
) -> Scores:
    """The share of each unit's gradient that adaptive gradient clipping keeps.

    The ratio of gradient to weight says how much one step would change a unit; the norm of the whole network's gradient
    does not.

        scale = min(1, clip * max(norm(w), eps) / max(norm(g), 1e-6))     unit by unit, Frobenius norms

    Args:
        weight: One row a unit, (*S, O, F). Read, never written.
        grad: Its gradient, (*S, O, F). Read, never written.
        clip: The largest ratio of the norms, above 0.
        eps: The least length of a unit, so that those that begin at 0 can move.

    Returns:
        (*S, O), in float32 or wider; exactly 1 within the limit.

    Edge cases:
        A gradient that is not a number: a scale that is none.

    Source:
        Brock, De, Smith, Simonyan, "High-Performance Large-Scale Image Recognition Without Normalization", ICML 2021,
        equation 3; the released code (nfnets/agc_optax.py) for the divisor.

    Examples:
        >>> adaptive_scale(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.01], [0.0, 1.0]]), clip=0.01)
        tensor([1.0000, 0.0500])
    """
    wide = torch.promote_types(grad.dtype, torch.float32)
    lengths = torch.linalg.vector_norm(weight, dim=-1, dtype=wide).clamp(min=eps)
    slopes = torch.linalg.vector_norm(grad, dim=-1, dtype=wide)
    return torch.where(slopes <= clip * lengths, 1.0, clip * lengths / slopes.clamp(min=1e-6))


@final
@dataclass(frozen=True, kw_only=True)
class AdaptiveClip(Guard):
    """Clip each unit's gradient to a share of the unit's length (adaptive gradient clipping, AGC).

    See `regrow.functional.adaptive_scale`. A unit is one filter: all weights that one output is made of, whichever axis
    they lie along (in a linear layer, a grouped and a transposed convolution too). A vector (a bias, a norm's scale) is
    one unit as a whole.

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
        As there, Section 4. https://arxiv.org/abs/2102.06171 Ports that take the first axis for the units of every
        tensor, or the inputs of a linear layer, clip something else.
    """

    clip: float = 0.01
    eps: float = 1e-3
    heads: bool = False
    skip_poison: bool = False

    def __post_init__(self) -> None:
        check_flag(self.skip_poison, name="skip_poison", where="adaptive clip")
        check_flag(self.heads, name="heads", where="adaptive clip")
        check_positive(self.clip, name="clip", where="adaptive clip")
        check_positive(self.eps, name="eps", where="adaptive clip")

    def clip_(
        self, moved: StepParameters, grads: Sequence[Tensor], *, scale: Tensor | None
    ) -> Tensor | None:
        """By layer whether one of its units was clipped."""
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
