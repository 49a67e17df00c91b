"""The young entries of many tensors as one: their steps are made right by a few operations instead of a few each.

Called by `surgery/correction` behind an optimizer's step, by way of `blocks` and `small` where tensors are large or
tiny.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from operator import is_
from typing import Any, Final

import torch
from torch import Tensor, nn

from regrow.surgery.optimizers.moments import MomentFamily
from regrow.surgery.optimizers.step import counting_type, fine
from regrow.surgery.young import Births, Count, YoungEntries, ages, still_young

_AHEAD: Final = 32
"""Steps that are worked out together at most; fewer while somebody is born every few steps."""

_AT_FIRST: Final = 4
"""Steps that are worked out together when somebody was born: a row more costs next to nothing."""


@dataclass(frozen=True, kw_only=True)
class SteppedTensor:
    """A tensor with young entries whose step has been made."""

    entry: YoungEntries
    state: Mapping[str, Any]  # the optimizer's state of the tensor
    now: Count  # its count of updates, this step included
    moved: bool | Tensor  # whether this step was made
    index: int  # its number in the table of the step

    @property
    def parameter(self) -> nn.Parameter:
        """The tensor."""
        return self.entry.parameter


class AgeTables:
    """What the ages of all births in some tensors come to in a step, one tensor after the other.

    Worked out for some steps ahead: to begin an operation takes longer than to work out thirty steps by it. They hold
    until somebody is born, an option changes, or a tensor is not stepped with the others.
    """

    factors: Sequence[Tensor]  # what the family makes of an age, a tensor each
    parts: Sequence[Sequence[Tensor]]  # the same by tensor; its own age is the first of its births
    # What `MomentFamily.taken` needs of the tensors' own ages, one number a tensor.
    theirs: Sequence[Tensor]
    singles: Sequence[Sequence[Tensor]]  # the same by tensor
    alike: bool  # all tensors are of one age
    # Whose steps must be made right; None: those of all but the tensors themselves.
    young: Tensor | None
    starts: Sequence[int]  # where each tensor's births begin

    def __init__(self) -> None:
        self._births: list[Births] = []
        self._options: dict[str, Any] | None = None
        self._first: list[Count] = []
        self._many = 0

    def now(
        self,
        members: Sequence[SteppedTensor],
        *,
        family: MomentFamily,
        group: Mapping[str, Any],
    ) -> AgeTables:
        """The table of the step that was just made."""
        births, now = [member.entry.births for member in members], [each.now for each in members]
        options = None if any(isinstance(one, Tensor) for one in now) else _fixed(group)
        many, ahead = 1, _AT_FIRST
        if not same(births, self._births):
            self._births = births
            self._arrange([each.counts for each in births])
        elif options is not None and options == self._options and self._counts.is_cpu:
            passed = {one - first for one, first in zip(now, self._first, strict=True)}
            number, known = passed.pop() if len(passed) == 1 else -1, self._many
            if number in range(known):
                return self._at(int(number))
            ahead = min(2 * known, _AHEAD) if number == known else _AT_FIRST
        if options is not None and self._counts.is_cpu:
            many = ahead
        self._first, self._options = now, options
        age, kind = self._ages(now, many), fine(members[0].parameter)
        young = None
        if age.device.type != "cpu":  # there who has grown up is left out before
            horizon = family.horizon(group)
            each = zip(members, age[0].split(self._lengths), strict=True)
            young = torch.cat(
                [still_young(one, moved=member.moved, horizon=horizon) for member, one in each]
            )
        factors = [factor.to(kind) for factor in family.factors(age, group=group)]
        own = [factor.index_select(1, self._firsts) for factor in factors]
        theirs = family.common(own, group=group)
        self._many, self._factors, self._theirs, self.young = many, factors, theirs, young
        self.alike = all(not isinstance(one, Tensor) and one == now[0] for one in now)
        return self._at(0)

    def _at(self, row: int) -> AgeTables:
        """One of the steps; taken apart when it is asked for, as somebody may be born before most of them are."""
        self.factors = [each[row] for each in self._factors]
        self.theirs = [each[row] for each in self._theirs]
        parts = [each.split(self._lengths) for each in self.factors]
        self.parts = list(zip(*parts, strict=True))
        self.singles = list(zip(*(each.unbind() for each in self.theirs), strict=True))
        return self

    def _arrange(self, counts: Sequence[Tensor]) -> None:
        """Lay the counts of all births one after the other."""
        self._lengths = list(map(len, counts))
        self.starts = (0, *accumulate(self._lengths))
        self._counts = torch.cat([*counts])
        self._whose = torch.cat(
            [torch.full_like(each, index, dtype=torch.int64) for index, each in enumerate(counts)]
        )
        starts = zip(self.starts, counts, strict=False)
        self._firsts = torch.cat(
            [torch.full_like(each[:1], start, dtype=torch.int64) for start, each in starts]
        )

    def _ages(self, now: Sequence[Count], many: int) -> Tensor:
        """How old those are who were born together, a row for each of some steps from now on."""
        there, exact = self._counts.device, counting_type(self._counts)
        # A number goes to a GPU as an argument: a copy of its tensor would wait for the GPU.
        each = [
            one.to(exact).reshape(())
            if isinstance(one, Tensor)
            else torch.full((), one, dtype=exact, device=there)
            for one in now
        ]
        ahead = torch.arange(many, dtype=exact, device=there)[:, None]
        return ages(self._counts, step=torch.stack(each).index_select(0, self._whose) + ahead)


def _fixed(group: Mapping[str, Any]) -> dict[str, Any] | None:
    """The options; None where one is a tensor, which may be changed unseen."""
    options = {key: value for key, value in group.items() if key != "params"}
    several = [value for value in options.values() if isinstance(value, tuple)]
    held = [isinstance(one, Tensor) for one in chain(options.values(), *several)]
    return None if any(held) else options


class BirthsOfEntries:
    """Which births the entries of a bundle are of: the same in each step until somebody is born, in front of it too."""

    def __init__(self) -> None:
        self._known: tuple[list[tuple[int, int]], list[Tensor]] = [], []

    def of(
        self, members: Sequence[SteppedTensor], parts: Sequence[Tensor], starts: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Each entry's own number in the table, and that of its tensor; `parts` are the tensors' young entries."""
        where = [(member.index, starts[member.index]) for member in members]
        births = [member.entry.young[1] for member in members]
        if where != self._known[0] or not same(births, self._known[1]):
            own = [
                (number + start).expand(part.shape)
                for (_, start), number, part in zip(where, births, parts, strict=True)
            ]
            whole = [
                torch.full_like(each, index) for (index, _), each in zip(where, own, strict=True)
            ]
            self._known, self._found = (where, births), (joined(own), joined(whole))
        return self._found


def settle_together(
    members: Sequence[SteppedTensor],
    table: AgeTables,
    *,
    family: MomentFamily,
    group: Mapping[str, Any],
    births: BirthsOfEntries,
) -> None:
    """Make the step right for the young parts of tensors with the same options, type and device."""
    young = [(member, member.entry.young[0]) for member in members]
    parts = [member.parameter.detach()[at] for member, at in young]
    kind = fine(parts[0])
    first, second = (
        joined(member.state[key][at] for member, at in young).to(kind)
        for key in family.moments(group)
    )
    value = joined(parts)
    numbers, tensors = births.of(members, parts, table.starts)
    gap = family.gap(
        second,
        [factor.index_select(0, numbers) for factor in table.factors],
        [factor.index_select(0, tensors) for factor in table.theirs],
        group=group,
    )
    right = (value.to(kind) + gap.mul_(first)).to(value.dtype)
    if table.young is not None:
        right = torch.where(table.young[numbers], right, value)
    pieces = right.split([part.numel() for part in parts])
    for (member, at), part, new in zip(young, parts, pieces, strict=True):
        member.parameter[at] = new.reshape(part.shape)


def joined(tensors: Iterable[Tensor]) -> Tensor:
    """One after the other."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def same(these: Sequence[object], those: Sequence[object]) -> bool:
    """Whether two rows have the very same objects, which are replaced when somebody is born, and never written into."""
    return len(these) == len(those) and all(map(is_, these, those))
