"""StepLimit: no step moves a layer by more than a share of its length.

KeepAlive's guard. `guard/guarding` calls it; which tensors belong together it hears from `guard/step_parameters`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._checks import check_choice, check_flag, check_positive
from regrow.guard.base import Guard
from regrow.guard.step_parameters import Part, StepParameters, lengths_of


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


@final
@dataclass(frozen=True, kw_only=True)
class StepLimit(Guard):
    """Let no step move a layer by more than a share of its length.

    One step that changes a layer by more than a part of what it is can blow a network up, or leave its filters where no
    example reaches them, and training does not come back from that. What the optimizer makes of a gradient is not
    bounded by the gradient; so it is the step that is looked at, decay included, and not the gradient.

        U_l  <-  U_l * step_scale(norm(U_l), length(l)),     see `regrow.functional.step_scale`
        length(l) = max(norm of the layer before the step, norm of a fresh layer of its shape)

    Weight and bias of a layer are one vector. Norm scales, shifts and gates are each one, with a fresh length of the
    square root of their number; so is every other parameter. What an optimizer does not move at a step counts neither
    as moved nor as length.

    Args:
        fraction: The largest share of its length, above 0.
        by: Look at each ``layer``, at each ``unit`` of it (a filter with its bias, an entry of a vector, a row of
            another matrix), or at the whole ``network``.
        skip_poison: Make no step with a gradient that is not finite, or whose square is not finite in the type in which
            the optimizer keeps its state: one such gradient makes Adam's second moment infinite for ever.

    Raises:
        ConfigError: A fraction that is not above 0, or another `by`.

    Edge cases:
        A step within the limit keeps all its bits. A step whose length is not finite (a length overflows before its
        entries do) is not made: the layer's parameters are put back, and what the optimizer remembers is not.
        Costs one copy of the parameters that are trained, and for a moment another; none at steps of `torch.optim.SGD`,
        `Adam` and `AdamW` on a CPU that are known beforehand to be within the limit: of the first from the lengths of
        what the step is made of, of the others at rates below about 0.008 / sqrt(inputs of a filter), with Adam's
        usual constants.

    Source:
        The limit by layer is You, Gitman, Ginsburg 2017 (LARS, https://arxiv.org/abs/1708.03888) as a bound instead of
        a rate. Ours: on the step and not on the gradient, the fresh length, and what is put back.

    Examples:
        >>> StepLimit()
        StepLimit(fraction=0.1, by='layer', skip_poison=True)
    """

    fraction: float = 0.1
    by: Literal["layer", "unit", "network"] = "layer"
    skip_poison: bool = True

    compares = True

    def __post_init__(self) -> None:
        check_flag(self.skip_poison, name="skip_poison", where="step limit")
        check_positive(self.fraction, name="fraction", where="step limit")
        check_choice(self.by, ("layer", "unit", "network"), name="by", where="step limit")

    @property
    def by_layer(self) -> bool:
        """Unless by network."""
        return self.by != "network"

    def within(self, moved: StepParameters, most: Sequence[float]) -> bool:
        """Whether steps of at most these lengths are short for fresh layers; a hundredth is left to rounding."""
        squares = [0.0] * len(moved.groups)
        for place, length in zip(moved.place, most, strict=True):
            squares[place] += length * length
        if self.by == "network":
            whole = sum(group.fresh**2 for group in moved.groups)
            return sum(squares) <= (0.99 * self.fraction) ** 2 * whole
        return all(
            square
            <= (0.99 * self.fraction * group.fresh) ** 2 / (group.units if self.by == "unit" else 1)
            for square, group in zip(squares, moved.groups, strict=True)
        )

    def limit_(self, moved: StepParameters, before: Sequence[Tensor]) -> Tensor | None:
        """By layer whether it was shortened, or one for the network."""
        steps = torch._foreach_sub(moved.parameters, list(before))  # pyright: ignore[reportPrivateUsage]
        if self.by == "unit":
            return self._by_unit_(moved, before, steps)
        whole = self.by == "network"
        each = lengths_of(steps)
        # Nearly always: then the length now, which can only be more, need not be known.
        if moved.on_cpu and self.within(moved, each.tolist()):
            return None
        made, fresh, lengths = moved.joined(each), moved.fresh, moved.lengths(before)
        if whole:
            made, fresh, lengths = _joined(made), _joined(fresh), _joined(lengths)
        scale = step_scale(made, torch.maximum(lengths, fresh.to(lengths)), fraction=self.fraction)
        hit = scale < 1
        if moved.on_cpu and not bool(hit.any()):
            return None
        shares = scale.tolist() if moved.on_cpu else None
        places = [0] * len(moved.parts) if whole else moved.place
        if shares is not None and moved.is_exact:
            _shorten_(moved.parameters, before, steps, [shares[place] for place in places])
            return hit
        for now, old, place in zip(moved.parameters, before, places, strict=True):
            if shares is None or shares[place] < 1:
                now.copy_(limited(old, now, scale[place].to(now.device)))
        return hit

    def _by_unit_(
        self, moved: StepParameters, before: Sequence[Tensor], steps: Sequence[Tensor]
    ) -> Tensor | None:
        """The same for each unit: what a layer's parts have of a unit is one vector."""
        made, lengths = (_by_units(moved, each) for each in (steps, before))
        scales = [
            step_scale(
                step,
                length.clamp(min=group.fresh / group.units**0.5),
                fraction=self.fraction,
            )
            for step, length, group in zip(made, lengths, moved.groups, strict=True)
        ]
        home = scales[0].device
        hit = torch.stack([(scale < 1).any().to(home) for scale in scales])
        if moved.on_cpu and not bool(hit.any()):
            return None
        hits = hit.tolist() if moved.on_cpu else None
        for part, old, place in zip(moved.parts, before, moved.place, strict=True):
            if hits is None or hits[place]:
                now = part.parameter
                now.copy_(limited(old, now, part.spread(scales[place].to(now.device))))
        return hit


def _shorten_(
    parameters: Sequence[Tensor],
    before: Sequence[Tensor],
    steps: Sequence[Tensor],
    shares: Sequence[float],
) -> None:
    """`limited` of all that are beyond, in a few calls: small networks are calls more than numbers."""
    parted = list(zip(parameters, before, steps, shares, strict=True))
    for now, old, _, share in parted:
        if share == 0:
            now.copy_(old)
    some = [each for each in parted if 0 < each[3] < 1]
    if not some:
        return
    beyond, olds, parts, kept = map(list, zip(*some, strict=True))
    torch._foreach_mul_(parts, kept)  # pyright: ignore[reportPrivateUsage]
    torch._foreach_add_(parts, olds)  # pyright: ignore[reportPrivateUsage]
    torch._foreach_copy_(beyond, parts)  # pyright: ignore[reportPrivateUsage]


def _joined(lengths: Tensor) -> Tensor:
    return torch.linalg.vector_norm(lengths).reshape(1)


def _by_units(moved: StepParameters, tensors: Sequence[Tensor]) -> list[Tensor]:
    """By group the length of each of its units, (units,)."""
    squares: dict[int, Tensor] = {}
    for part, tensor, place in zip(moved.parts, tensors, moved.place, strict=True):
        own = _unit_lengths(part, tensor).square()
        squares[place] = squares[place] + own.to(squares[place]) if place in squares else own
    return [squares[place].sqrt() for place in range(len(moved.groups))]


def _unit_lengths(part: Part, tensor: Tensor) -> Tensor:
    wide = torch.promote_types(tensor.dtype, torch.float32)
    return torch.linalg.vector_norm(part.unit_rows(tensor), dim=-1, dtype=wide)
