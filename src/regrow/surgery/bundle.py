"""The young entries of many tensors as one: their steps are made right by a few operations instead of a few each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor, nn

from regrow.surgery.optimizers.moments import MomentFamily
from regrow.surgery.optimizers.step import fine
from regrow.surgery.young import YoungEntries, ages, still_young


@dataclass(frozen=True, kw_only=True)
class SteppedTensor:
    """A tensor with young entries whose step has been made.

    Attributes:
        entry: The young entries.
        state: The optimizer's state of the tensor.
        step: Its count of updates now, this step included.
        moved: Whether this step was made.
    """

    entry: YoungEntries
    state: Mapping[str, Any]
    step: Tensor
    moved: bool | Tensor

    @property
    def parameter(self) -> nn.Parameter:
        """The tensor."""
        return self.entry.parameter

    @property
    def counts(self) -> Tensor:
        """The tensor's count of updates at each birth, its own (0) first."""
        return self.entry.births.counts


@dataclass(frozen=True, kw_only=True)
class AgeTable:
    """What the ages of all births in some tensors come to in one step, one tensor after the other.

    Attributes:
        factors: What the family makes of an age, a tensor each.
        young: Whose steps must be made right; None: those of all but the tensors themselves.
        starts: Where each tensor's births begin; its own age is the first of them.
    """

    factors: tuple[Tensor, ...]
    young: Tensor | None
    starts: tuple[int, ...]

    def of(self, index: int, length: int) -> tuple[Tensor, ...]:
        """The factors of one tensor's births."""
        start = self.starts[index]
        return tuple(factor[start : start + length] for factor in self.factors)


def table_of(
    members: Sequence[SteppedTensor], *, family: MomentFamily, group: Mapping[str, Any]
) -> AgeTable:
    """Work out the ages of all births."""
    counts = torch.cat([member.counts for member in members])
    lengths = [member.counts.shape[0] for member in members]
    starts = (0, *accumulate(lengths))
    age = ages(
        counts, step=_each([member.step for member in members], lengths, device=counts.device)
    )
    kind = fine(members[0].parameter)
    young = None
    if counts.device.type != "cpu":  # there who has grown up is left out before
        horizon = family.horizon(group)
        each = zip(members, age.split(lengths), strict=True)
        young = torch.cat(
            [still_young(one, moved=member.moved, horizon=horizon) for member, one in each]
        )
    return AgeTable(
        factors=tuple(factor.to(kind) for factor in family.factors(age, group=group)),
        young=young,
        starts=starts,
    )


class BirthsOfEntries:
    """Which births the entries of a bundle are of: the same in each step until somebody is born."""

    def __init__(self) -> None:
        self._of: list[tuple[int, Tensor]] = []
        self._found: tuple[Tensor, Tensor] | None = None

    def of(
        self, members: Sequence[tuple[int, Tensor]], parts: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Each entry's own number in the table, and that of its tensor.

        Args:
            members: Where the births of each tensor begin, and the numbers of its entries' births.
            parts: Its young entries.
        """
        alike = len(members) == len(self._of) and all(
            start == known and number is kept
            for (start, number), (known, kept) in zip(members, self._of, strict=True)
        )
        if self._found is None or not alike:
            own = [
                (number + start).expand(part.shape)
                for (start, number), part in zip(members, parts, strict=True)
            ]
            all_ = [
                torch.full_like(each, start) for (start, _), each in zip(members, own, strict=True)
            ]
            self._of, self._found = list(members), (_joined(own), _joined(all_))
        return self._found


def settle_together(
    members: Sequence[tuple[SteppedTensor, int]],
    table: AgeTable,
    *,
    family: MomentFamily,
    group: Mapping[str, Any],
    births: BirthsOfEntries | None = None,
) -> None:
    """Make the step right for the young parts of tensors with the same options, type and device.

    Args:
        members: Each with its number in the table.
    """
    young = [member.entry.young for member, _ in members]
    parts = [
        member.parameter.detach()[at] for (member, _), (at, _) in zip(members, young, strict=True)
    ]
    kind = fine(parts[0])
    first, second = (
        _joined(
            member.state[key][at] for (member, _), (at, _) in zip(members, young, strict=True)
        ).to(kind)
        for key in family.moments(group)
    )
    value = _joined(parts)
    each = [
        (table.starts[index], number)
        for (_, index), (_, number) in zip(members, young, strict=True)
    ]
    numbers, tensors = (births or BirthsOfEntries()).of(each, parts)
    gap = family.gap(
        second,
        [factor.index_select(0, numbers) for factor in table.factors],
        family.common([factor.index_select(0, tensors) for factor in table.factors], group=group),
        group=group,
    )
    right = (value.to(kind) + gap.mul_(first)).to(value.dtype)
    if table.young is not None:
        right = torch.where(table.young[numbers], right, value)
    pieces = right.split([part.numel() for part in parts])
    for (member, _), (at, _), part, new in zip(members, young, parts, pieces, strict=True):
        member.parameter[at] = new.reshape(part.shape)


def _joined(tensors: Iterable[Tensor]) -> Tensor:
    """One after the other."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _each(values: Sequence[Tensor], lengths: Sequence[int], *, device: torch.device) -> Tensor:
    """One value a member as one value a birth."""
    if all(value.device.type == "cpu" for value in values) and device.type == "cpu":
        every = ([value.item()] * length for value, length in zip(values, lengths, strict=True))
        return torch.tensor([*chain.from_iterable(every)], dtype=values[0].dtype, device="cpu")
    return torch.cat(
        [
            # A number in the host's memory goes to a GPU as an argument: a copy of its tensor would wait for the GPU.
            torch.full((length,), value.item(), dtype=value.dtype, device=device)
            if value.device.type == "cpu"
            else value.reshape(1).expand(length)
            for value, length in zip(values, lengths, strict=True)
        ]
    )
