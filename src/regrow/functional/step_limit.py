"""How much of an optimizer's step is made: no layer moves further than a share of its own length."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def step_scale(
    step: Float[Tensor, "*S"], length: Float[Tensor, "*S"], *, fraction: float
) -> Float[Tensor, "*S"]:
    """The share of a step that is made.

    A step that changes weights by more than a part of what they are is no refinement of them, and a network does not
    come back from a few of those. The direction is kept.

        scale = min(1, fraction * length / step)

    Args:
        step: Length of each step, at least 0. Read, never written.
        length: Of what is moved, at least 0.
        fraction: The largest share of its length that it may move by.

    Returns:
        Within [0, 1]; exactly 1 where the step is within the limit.

    Edge cases:
        A step whose length is not finite is not made: 0. So is every step of what has no length, and a length that is
        not a number.

    Examples:
        >>> step_scale(torch.tensor([0.1, 2.0, float("nan")]), torch.tensor([1.0, 1.0, 1.0]), fraction=0.1)
        tensor([1.0000, 0.0500, 0.0000])
    """
    limit = fraction * length
    short = (limit / step).nan_to_num(nan=0.0, posinf=1.0).clamp(0.0, 1.0)
    # What is within the limit must be 1 exactly, whatever the division rounds to; and what is not, less.
    over = 1.0 - torch.finfo(step.dtype).eps
    return torch.where(step <= limit, 1.0, short.clamp(max=over))


def limited(before: Tensor, after: Tensor, scale: Float[Tensor, ...]) -> Tensor:
    """Parameters after a part of a step.

        before + scale * (after - before)

    Args:
        before: As they were. Read, never written.
        after: As the whole step has made them, of the same shape. Read, never written.
        scale: The share of the step, within [0, 1]; it broadcasts to their shape.

    Returns:
        In `after`'s dtype. Where `scale` is 1 the bits are those of `after`, where it is 0 those of `before`, whatever
        is in the other.

    Examples:
        >>> limited(torch.tensor([1.0, 1.0]), torch.tensor([3.0, torch.nan]), torch.tensor([0.25, 0.0]))
        tensor([1.5000, 1.0000])
    """
    wide = torch.promote_types(after.dtype, torch.float32)
    start = before.to(wide)
    moved = (start + scale * (after.to(wide) - start)).to(after.dtype)
    return torch.where(scale >= 1, after, torch.where(scale > 0, moved, before))
