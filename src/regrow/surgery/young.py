"""Entries younger than their tensor: when they were born, in the tensor's own count of updates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, cast

import torch
from torch import Tensor

from regrow.errors import StateError

Memory = dict[str, Tensor]
"""What is kept of one tensor with young entries. Replaced, never written into.

born: the tensor's count of updates when an entry was renewed, -1 where it is not young; the axes of the tensor, of
    size 1 where all along one are alike.
seen: that count when it was last looked at.
waited: the number of updates looked at since the last renewal; decides when to see whether all have grown up.
count: the surgeon's own count of updates, for optimizers that have none.
Whatever else the family keeps, of the shape of born.
"""

_NEEDED: Final = frozenset({"born", "seen", "waited"})
_COUNTS: Final = frozenset({"waited", "count"})
_OF_TENSOR: Final = _COUNTS | {"seen"}
_LOOK_AGAIN: Final = 64
"""Reading the ages makes a GPU wait, so it is done now and then only."""


def with_births(
    memory: Memory | None,
    mask: Tensor,
    *,
    now: Tensor,
    newborn: Mapping[str, Tensor],
    horizon: int | None,
) -> Memory:
    """Enter new births.

    Masks of one tensor may run along different axes (its own filters, its readers' slices): what is
    kept takes the smallest shape that holds both.

    Args:
        memory: What is kept so far; None: nothing.
        mask: True where an entry begins anew; the axes of the tensor, some of size 1.
        now: The tensor's count of updates.
        newborn: What the family keeps of a newborn entry, without axes.
        horizon: The age of growing up; None: never. Who has reached it is no longer young.

    Returns:
        What to keep from now on.

    Examples:
        >>> rows, columns = torch.tensor([[True], [False]]), torch.tensor([[False, True]])
        >>> first = with_births(None, rows, now=torch.tensor(3.0), newborn={}, horizon=9)
        >>> with_births(first, columns, now=torch.tensor(5.0), newborn={}, horizon=9)["born"]
        tensor([[ 3.,  5.],
                [-1.,  5.]])
    """
    there = mask.device
    kept: Memory = dict(memory or {})
    never = torch.full((), -1.0, dtype=now.dtype, device=there)
    born = kept.get("born", never)
    if horizon is not None:
        born = torch.where(now.to(there) - born >= horizon, never, born)
    kept["born"] = torch.where(mask, now.to(there), born)
    for key, value in newborn.items():
        here = value.to(there)
        kept[key] = torch.where(mask, here, kept.get(key, here))
    kept["seen"] = now.detach().clone()
    kept["waited"] = torch.zeros((), dtype=torch.int64, device="cpu")
    return kept


Places = tuple[slice | Tensor, ...]
"""An index that takes the young part out of a tensor, and out of whatever broadcasts to it."""


def places(memory: Memory) -> Places | None:
    """Where the young part of a tensor is: work is done there only.

    Args:
        memory: What is kept.

    Returns:
        An index; None: nobody is young.

    Examples:
        >>> rows = {"born": torch.tensor([[-1.0], [4.0], [-1.0]])}
        >>> torch.arange(6).reshape(3, 2)[places(rows)]
        tensor([[2, 3]])
    """
    born = memory["born"]
    found = (born >= 0).nonzero(as_tuple=True)
    if not found or not found[0].numel():
        return None
    return tuple(
        index if size > 1 else slice(None) for index, size in zip(found, born.shape, strict=True)
    )


def young_part(memory: Memory, at: Places) -> Memory:
    """What is kept of the entries at some places.

    Args:
        memory: What is kept of a tensor.
        at: The places.

    Returns:
        The part; counts, which belong to the whole tensor, are left out.
    """
    return {key: value[at] for key, value in memory.items() if key not in _OF_TENSOR}


def ages(
    memory: Memory, *, step: Tensor, moved: Tensor, horizon: int | None
) -> tuple[Tensor, Tensor]:
    """How old entries are, and which of them are young.

    Args:
        memory: What is kept, or a part of it.
        step: The tensor's count of updates, the newest included.
        moved: Whether the newest was made; without axes. On the CPU it must be true.
        horizon: The age up to which an entry is young; None: always.

    Returns:
        Ages, float64 (float32 where the device has no other), at least 1; and a mask. Both broadcast to the tensor.

    Examples:
        >>> memory = {"born": torch.tensor([-1.0, 2.0, 6.0])}
        >>> ages(memory, step=torch.tensor(7.0), moved=torch.tensor(True), horizon=3)
        (tensor([8., 5., 1.], dtype=torch.float64), tensor([False, False,  True]))
    """
    born = memory["born"]
    exact = torch.float32 if born.device.type == "mps" else torch.float64
    age = (step.to(exact) - born.to(exact)).clamp(min=1.0)
    young = born >= 0
    if moved.device.type != "cpu":
        young = young & moved
    return age, young if horizon is None else young & (age <= horizon)


def grown_up(memory: Memory, *, now: Tensor, horizon: int | None) -> bool:
    """Whether no entry is young any more.

    Args:
        memory: What is kept.
        now: The tensor's count of updates.
        horizon: The age of growing up; None: never.

    Returns:
        True only if it was time to look and all are old enough.
    """
    if horizon is None:
        return False
    over = int(memory["waited"]) - horizon
    if over < 0 or over % _LOOK_AGAIN:
        return False
    return float(now) - float(memory["born"].max()) >= horizon


def placed(memory: Mapping[str, Tensor], device: torch.device) -> Memory:
    """A loaded memory where it belongs: entries beside their parameter, counts where they were.

    Args:
        memory: What was saved.
        device: The parameter's.

    Returns:
        The same on the right devices.
    """
    return {
        key: value if key == "seen" else value.to("cpu" if key in _COUNTS else device)
        for key, value in memory.items()
    }


def check_memory(
    name: str,
    memory: Mapping[str, object],
    *,
    shape: torch.Size,
    entries: Collection[str] = (),
    counts: Collection[str] = (),
) -> None:
    """Refuse a saved memory that is not whole, or not of this parameter.

    Args:
        name: The parameter's.
        memory: What was saved.
        shape: The parameter's.
        entries: What the family keeps, one number an entry.
        counts: What must be there besides, one number a tensor.

    Raises:
        StateError: Something is missing, not a tensor, or of a shape that does not fit.
    """
    missing = sorted(_NEEDED.union(entries, counts) - set(memory))
    if missing:
        raise StateError(f"the saved state of '{name}' lacks {', '.join(missing)}")
    for key, value in memory.items():
        if not isinstance(value, Tensor):
            raise StateError(
                f"the saved state of '{name}' must hold tensors, and its {key} is a {type(value).__name__}"
            )
        saved = value.shape
        if key in _OF_TENSOR:
            fits = value.numel() == 1
        else:
            fits = len(saved) == len(shape) and all(
                mine in (1, whole) for mine, whole in zip(saved, shape, strict=True)
            )
        if not fits or (key in entries and saved != cast("Tensor", memory["born"]).shape):
            raise StateError(
                f"the saved state of '{name}' has {key} of shape {tuple(saved)}, the parameter is of {tuple(shape)}"
            )
