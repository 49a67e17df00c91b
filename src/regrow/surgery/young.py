"""Entries younger than their tensor: when they were born, in the tensor's own count of updates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Births:
    """The births in one tensor. Replaced, never written into.

    Entries that were renewed at the same update share a number, and all that is kept of them. Who was renewed is kept
    by row and by column, a number each instead of one an entry, wherever that says it all.

    Attributes:
        counts: (K + 1,), the tensor's count of updates at each birth, in the order of the births. The first is 0, that
            of the tensor itself.
        parts: Numbers of births, positions in `counts`, 0 where nobody was born, by ``rows`` (alike along all axes but
            the first), ``columns`` (alike along the first) and ``entries`` (neither); the axes of the tensor, of size 1
            where all along one are alike. Where parts meet, the largest number counts.
        kept: (K + 1,) each, what the family keeps of entries that were born together.
    """

    counts: Tensor
    parts: Mapping[str, Tensor]
    kept: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def numbers(self) -> Tensor:
        """The number of each entry's birth, 0 where it is not young; broadcasts to the tensor."""
        found, *others = self.parts.values()
        for other in others:
            found = torch.maximum(found, other)
        return found


def by_part(numbers: Tensor) -> dict[str, Tensor]:
    """Say numbers of births by row and by column, if that can be.

    Args:
        numbers: One an entry, or fewer: the axes of the tensor, some of size 1.

    Returns:
        The parts, as `Births` has them.

    Examples:
        >>> found = by_part(torch.tensor([[2, 2, 2], [0, 1, 0]]))
        >>> found["rows"].tolist(), found["columns"].tolist()
        ([[2], [0]], [[0, 1, 0]])
        >>> list(by_part(torch.tensor([[2, 0], [0, 2]])))
        ['entries']
    """
    if all(size == 1 for size in numbers.shape[1:]):
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
    """Enter new births.

    Args:
        births: Those so far; None: none.
        mask: True where an entry begins anew; the axes of the tensor, some of size 1.
        now: The tensor's count of updates.
        newborn: What the family keeps of a newborn entry, without axes.
        horizon: The age of growing up; None: never. Who has reached it is no longer young.

    Returns:
        Those from now on; None: nobody is young.

    Examples:
        >>> rows, columns = torch.tensor([[True], [False]]), torch.tensor([[False, True]])
        >>> first = with_births(None, rows, now=torch.tensor(3.0), newborn={}, horizon=9)
        >>> both = with_births(first, columns, now=torch.tensor(5.0), newborn={}, horizon=9)
        >>> both.counts[both.numbers()]
        tensor([[3., 5.],
                [0., 5.]])
    """
    there = mask.device
    if births is None:
        births = Births(
            counts=torch.zeros(1, dtype=now.dtype, device=there),
            parts={},
            kept={key: value.to(there).reshape(1) for key, value in newborn.items()},
        )
    counts, kept = births.counts, births.kept
    if len(counts) == 1 or bool(counts[-1] != now.to(there)):  # else born with the latest
        counts = torch.cat([counts, now.detach().to(counts).reshape(1)])
        kept = {
            key: torch.cat([kept[key], value.to(kept[key]).reshape(1)])
            for key, value in newborn.items()
        }
    parts = dict(births.parts)
    for name, part in by_part(mask.to(torch.int32) * (len(counts) - 1)).items():
        parts[name] = torch.maximum(parts[name], part) if name in parts else part
    born = Births(counts=counts, parts=parts, kept=kept)
    return without(born, older=None if horizon is None else now, horizon=horizon)


def without(births: Births, *, older: Tensor | None, horizon: int | None) -> Births | None:
    """Leave out who has grown up, births of which no entry is left, and parts that say nothing.

    Args:
        births: All.
        older: The tensor's count of updates; None: nobody has grown up.
        horizon: The age of growing up; None: never.

    Returns:
        What is left; None: nobody is young.

    Examples:
        >>> births = Births(
        ...     counts=torch.tensor([0.0, 2.0, 6.0]), parts={"rows": torch.tensor([1, 0, 2], dtype=torch.int32)}
        ... )
        >>> left = without(births, older=torch.tensor(9.0), horizon=5)
        >>> left.counts.tolist(), left.parts["rows"].tolist()
        ([0.0, 6.0], [0, 0, 1])
    """
    counts = births.counts
    young = torch.ones_like(counts, dtype=torch.bool)
    if older is not None and horizon is not None:
        young = older.to(counts) - counts < horizon
    young[0] = False
    shown = {name: torch.where(young[part], part, 0) for name, part in births.parts.items()}
    for name in list(shown):
        under = [int(other.min()) for key, other in shown.items() if key != name]
        part = torch.where(shown[name] > max(under, default=0), shown[name], 0)
        shown[name] = part
        if not bool(part.any()):
            del shown[name]
    if not shown:
        return None
    used = sum(torch.bincount(part.flatten(), minlength=len(counts)) for part in shown.values())
    wanted = torch.as_tensor(used, device=counts.device) > 0
    wanted[0] = True
    renumbered = (wanted.cumsum(0) - 1).to(torch.int32)
    return Births(
        counts=counts[wanted],
        parts={name: renumbered[part] for name, part in shown.items()},
        kept={key: value[wanted] for key, value in births.kept.items()},
    )


def oldest_of_all(births: Births) -> int:
    """The number of the earliest birth, if all of the tensor is young.

    Args:
        births: As they are after `without`.

    Returns:
        The number; 0 where some entry is not young, or where that is not seen (single entries are not looked through).
    """
    return max(int(part.min()) for part in births.parts.values())


def since(births: Births, number: int) -> Births | None:
    """The births of a tensor that counts its own updates from one of them on.

    Args:
        births: Those in a tensor of which no entry is older.
        number: The earliest birth that is left in it.

    Returns:
        The later ones; None: there are none.
    """
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
    """Where the young part of a tensor is: work is done there only.

    Args:
        births: In it.

    Returns:
        An index, and the numbers of the births there; they broadcast to the part.

    Examples:
        >>> rows = torch.tensor([[0], [1], [0]], dtype=torch.int32)
        >>> at, numbers = places(Births(counts=torch.tensor([0.0, 4.0]), parts={"rows": rows}))
        >>> torch.arange(6).reshape(3, 2)[at], numbers
        (tensor([[2, 3]]), tensor([[1]], dtype=torch.int32))
    """
    numbers = births.numbers()
    found = (numbers > 0).nonzero(as_tuple=True)
    at = tuple(
        index if size > 1 else slice(None) for index, size in zip(found, numbers.shape, strict=True)
    )
    return at, numbers[at]


def ages(counts: Tensor, *, step: Tensor) -> Tensor:
    """How old those are who were born together.

    Args:
        counts: The tensor's count of updates at each birth.
        step: That count now, the newest update included; broadcasts to `counts`.

    Returns:
        Ages, float64 (float32 where the device has no other), at least 1.

    Examples:
        >>> ages(torch.tensor([0.0, 2.0, 6.0]), step=torch.tensor(7.0))
        tensor([7., 5., 1.], dtype=torch.float64)
    """
    exact = torch.float32 if counts.device.type == "mps" else torch.float64
    return (step.to(exact) - counts.to(exact)).clamp(min=1.0)


def still_young(age: Tensor, *, moved: bool | Tensor, horizon: int | None) -> Tensor:
    """Whose steps must be made right.

    Args:
        age: Of the births of one tensor, in their order: the tensor's own first.
        moved: Whether the newest update was made; without axes. What is no tensor must be true.
        horizon: The age up to which an entry is young; None: always.

    Returns:
        A mask of the ages.
    """
    young = torch.ones_like(age, dtype=torch.bool) if horizon is None else age <= horizon
    if isinstance(moved, Tensor):
        young = young & moved
    young[0] = False
    return young
