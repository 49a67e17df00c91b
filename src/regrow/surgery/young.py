"""Entries younger than their tensor: when they were born, in the tensor's own count of updates.

Noted by `begin_` at a renewal, for `surgery/edits`; looked at by `surgery/correction` around each step from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.surgery.blocks import Grid, grid_of
from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.slow import SLOW, begin_slow_
from regrow.surgery.optimizers.step import Options

Count = float | Tensor
"""A count of updates: a number where it is in the host's memory, a tensor where reading it would wait for a device."""


def read(count: Tensor) -> Count:
    """A count as it is kept here."""
    return count.item() if count.is_cpu else count


@dataclass(frozen=True, kw_only=True)
class Births:
    """The births in one tensor. Replaced, never written into.

    Entries that were renewed at the same update share a number, and all that is kept of them. Who was renewed is kept
    by row and by column, a number each instead of one an entry, wherever that says it all.
    """

    # (K + 1,), the tensor's count of updates at each birth, in the order of the births. The first is 0, that of the
    # tensor itself.
    counts: Tensor
    # Numbers of births, positions in `counts`, 0 where nobody was born, by ``rows`` (alike along all axes but the
    # first), ``columns`` (alike along the first) and ``entries`` (neither); the axes of the tensor, of size 1 where
    # all along one are alike. Where parts meet, the largest number counts.
    parts: Mapping[str, Tensor]
    # (K + 1,) each, what the family keeps of entries that were born together.
    kept: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def numbers(self) -> Tensor:
        """The number of each entry's birth, 0 where it is not young; broadcasts to the tensor."""
        found, *others = self.parts.values()
        for other in others:
            found = torch.maximum(found, other)
        return found


def by_part(numbers: Tensor) -> dict[str, Tensor]:
    """Say numbers of births by row and by column, if that can be."""
    if numbers.shape[1:].numel() == 1:
        return {"rows": numbers}
    if numbers.shape[0] == 1:
        return {"columns": numbers}
    rows, columns = (
        numbers.amin(tuple(range(1, numbers.dim())), keepdim=True),
        numbers.amin(0)[None],
    )
    if torch.equal(torch.maximum(rows, columns), numbers):
        return {"rows": rows, "columns": columns}
    return {"entries": numbers}


def with_births(
    births: Births | None,
    mask: Tensor,
    *,
    now: Tensor,
    newborn: Mapping[str, Tensor],
    horizon: int | None,
) -> Births | None:
    """Enter new births."""
    there = mask.device
    parts: dict[str, Tensor] = {}
    counts, kept = torch.zeros(1, dtype=now.dtype, device=there), dict(newborn)
    if births is not None:
        parts, counts, kept = dict(births.parts), births.counts, dict(births.kept)
    if len(counts) == 1 or bool(counts[-1] != now.to(there)):  # else born with the latest
        counts = torch.cat([counts, now.detach().to(counts).reshape(1)])
        for key, value in newborn.items():
            before = kept[key].to(there).reshape(-1)
            kept[key] = torch.cat([before, value.to(before).reshape(1)])
    for name, part in by_part(mask.to(torch.int32) * (len(counts) - 1)).items():
        parts[name] = torch.maximum(parts[name], part) if name in parts else part
    born = Births(counts=counts, parts=parts, kept=kept)
    return without(born, older=None if horizon is None else now, horizon=horizon)


def without(births: Births, *, older: Count | None, horizon: int | None) -> Births | None:
    """Leave out who has grown up, births of which no entry is left, and parts that say nothing."""
    counts = births.counts
    young = torch.ones_like(counts, dtype=torch.bool)
    if older is not None and horizon is not None:
        young = (older.to(counts) if isinstance(older, Tensor) else older) - counts < horizon
    young[0] = False
    left: dict[str, Tensor] = {}
    for name, part in births.parts.items():
        left[name] = torch.where(young[part], part, 0)
    for name in list(left):
        part = left.pop(name)
        for other in left.values():
            part = torch.where(
                part > other.min(), part, 0
            )  # where parts meet, the larger number counts
        if bool(part.any()):
            left[name] = part
    if not left:
        return None
    used = torch.zeros(len(counts), dtype=torch.bool, device=counts.device)
    used[0] = True
    for part in left.values():
        used[part.flatten().long()] = True
    renumbered, kept = (used.cumsum(0) - 1).to(torch.int32), dict(births.kept)
    for name, part in left.items():
        left[name] = renumbered[part]
    for key, value in kept.items():
        kept[key] = value[used]
    return Births(counts=counts[used], parts=left, kept=kept)


def oldest_of_all(births: Births) -> int:
    """The number of the earliest birth, if all of the tensor is young."""
    oldest = 0
    for part in births.parts.values():
        oldest = max(oldest, int(part.min()))
    return oldest


def since(births: Births, number: int) -> Births | None:
    """The births of a tensor that counts its own updates from one of them on."""
    counts = (births.counts - births.counts[number])[number:]
    return without(
        replace(
            births,
            counts=counts,
            parts={name: (part - number).clamp(min=0) for name, part in births.parts.items()},
            kept={key: value[number:] for key, value in births.kept.items()},
        ),
        older=None,
        horizon=None,
    )


Places = tuple[slice | Tensor, ...]
"""An index that takes the young part out of a tensor, and out of whatever broadcasts to it."""


def places(births: Births) -> tuple[Places, Tensor]:
    """Where the young part of a tensor is: work is done there only."""
    numbers = births.numbers()
    if not numbers.shape:
        return (), numbers  # one number, such as a temperature
    found = (numbers > 0).nonzero(as_tuple=True)
    at = tuple(
        index if size > 1 else slice(None) for index, size in zip(found, numbers.shape, strict=True)
    )
    return at, numbers[at]


def ages(counts: Tensor, *, step: Count) -> Tensor:
    """How old those are who were born together."""
    exact = torch.float32 if counts.device.type == "mps" else torch.float64
    now = step.to(exact) if isinstance(step, Tensor) else step
    return (now - counts.to(exact)).clamp(min=1.0)


def still_young(age: Tensor, *, moved: bool | Tensor, horizon: int | None) -> Tensor:
    """Whose steps must be made right."""
    young = torch.ones_like(age, dtype=torch.bool) if horizon is None else age <= horizon
    if isinstance(moved, Tensor):
        young = young & moved
    young[0] = False
    return young


_LOOK_AGAIN: Final = 64
"""Reading the ages makes a GPU wait, so there it is done now and then only."""


@dataclass(kw_only=True)
class YoungEntries:
    """A tensor with young entries."""

    name: str  # by which messages call it
    parameter: nn.Parameter
    births: Births
    seen: Count  # its count of updates when it was last looked at
    waited: int = 0  # the number of updates looked at since the last renewal
    # The surgeon's own count of its updates, for optimizers that have none.
    count: Tensor | None = None

    @cached_property
    def young(self) -> tuple[Places, Tensor]:
        """Where the young entries are, and the numbers of their births."""
        return places(self.births)

    @cached_property
    def grid(self) -> Grid | None:
        """How they can be worked on in blocks; None: not."""
        return grid_of(self.births.parts, self.parameter)

    @cached_property
    def _eldest(self) -> float:
        return float(self.births.counts[1])

    def moved(self, step: Count) -> bool | Tensor:
        """Whether the tensor was stepped since it was last looked at."""
        seen = self.seen
        if isinstance(seen, Tensor):  # the count may have been loaded onto another device
            seen = seen.to(step.device) if isinstance(step, Tensor) else seen.item()
        return step != seen

    def aged(self, step: Count) -> None:
        """An update has been looked at."""
        self.seen = step.detach().clone() if isinstance(step, Tensor) else step
        self.waited += 1

    def shed(self, step: Count, *, horizon: int | None, by: int = 0) -> bool:
        """Leave out who has grown up, if it is time to look."""
        if horizon is None:
            return True
        if not isinstance(step, Tensor) and self.births.counts.is_cpu:
            if step - self._eldest < horizon + by:
                return True
        elif self.waited < horizon or (self.waited - horizon) % _LOOK_AGAIN:
            return True
        left = without(self.births, older=step, horizon=horizon + by)
        if left is None:
            return False
        self.births = left
        for key in ("young", "grid", "_eldest"):
            self.__dict__.pop(key, None)
        return True


def begin_(
    young: dict[nn.Parameter, YoungEntries],
    parameter: nn.Parameter,
    mask: Tensor,
    *,
    optimizer: Optimizer,
    family: Family,
    group: Options,
    name: str,
    ages: bool = True,
) -> None:
    """Let the marked entries of a tensor, which the optimizer has stepped before, begin anew in it.

    What is kept of them is that of fresh ones, and where later steps depend on the age, they are noted in `young`.
    Where no entry of a tensor is old any more, the optimizer is told to count from the earliest birth that is left:
    with all born at once its own steps are right then. Without `ages` nobody is noted, and nobody told.
    """
    state = optimizer.state[parameter]
    family.begin_(parameter, state, mask, group=group, defaults=optimizer.defaults)
    if SLOW in state:
        begin_slow_(parameter, state, mask)
    if not (ages and family.knows_age(group)):
        return
    known = young.get(parameter)
    count = None
    if not family.counts:
        own = None if known is None else known.count
        count = torch.zeros((), dtype=torch.float32, device="cpu") if own is None else own
    now: Tensor = state["step"] if count is None else count
    if family.only_counts and not bool(now):
        return  # all of the tensor was renewed right before, and nobody is younger than that
    births = with_births(
        None if known is None else known.births,
        mask.reshape((1,) * (parameter.dim() - mask.dim()) + mask.shape),
        now=now,
        newborn=family.newborn(state, group),
        horizon=family.horizon(group),
    )
    first = oldest_of_all(births) if births is not None and family.only_counts else 0
    if births is not None and first:
        now.sub_(births.counts[first].to(now.device))
        births = since(births, first)
    if births is None:
        young.pop(parameter, None)
    else:
        young[parameter] = YoungEntries(
            name=name,
            parameter=parameter,
            births=births,
            seen=now.item() if now.is_cpu else now.detach().clone(),
            count=count,
        )
