"""Births as they are saved: tensors by name, and what may be loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, cast

import torch
from torch import Tensor

from regrow.errors import StateError
from regrow.surgery.young import Births, by_part

_PARTS: Final = ("rows", "columns", "entries")
_OF_TENSOR: Final = ("waited", "seen", "count")
_NEEDED: Final = ("seen", "waited")
_BORN: Final = "born"
"""The births by entry, as regrow 0.1 has saved them: counts of updates, -1 where an entry is not young."""


def saved(births: Births) -> dict[str, Tensor]:
    """What to save of births.

    Args:
        births: In one tensor.

    Returns:
        Tensors by name.
    """
    return {"births": births.counts, **births.parts, **births.kept}


def loaded(memory: Mapping[str, Tensor], *, device: torch.device, keys: Collection[str]) -> Births:
    """Births that were saved, beside their parameter.

    Args:
        memory: What was saved, and has passed `check_memory`.
        device: The parameter's.
        keys: What the family keeps.

    Returns:
        The births.
    """
    if _BORN in memory:
        return _by_entry(memory, device=device, keys=keys)
    return Births(
        counts=memory["births"].to(device),
        parts={name: memory[name].to(device) for name in _PARTS if name in memory},
        kept={key: memory[key].to(device) for key in keys},
    )


def _by_entry(
    memory: Mapping[str, Tensor], *, device: torch.device, keys: Collection[str]
) -> Births:
    """Births of the older form, one an entry: who was born together shares what is kept."""
    born = memory[_BORN].to(device)
    known, numbers = torch.unique(born, return_inverse=True)
    old = int((known < 0).sum())  # 0 or 1: -1, which sorts first
    numbers = (numbers + 1 - old).to(torch.int32)
    one = torch.zeros(len(known) + 1 - old, dtype=torch.int64, device=device)
    one[numbers.flatten().long()] = torch.arange(numbers.numel(), device=device)
    return Births(
        counts=torch.cat([born.new_zeros(1), known[old:]]),
        parts=by_part(numbers),
        kept={key: memory[key].to(device).flatten()[one] for key in keys},
    )


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
        entries: What the family keeps of entries that were born together.
        counts: What must be there besides, one number a tensor.

    Raises:
        StateError: Something is missing, not a tensor, or of a shape that does not fit.
    """
    form = _BORN if _BORN in memory else "births"
    missing = sorted({*_NEEDED, form, *entries, *counts} - set(memory))
    if missing:
        raise StateError(f"the saved state of '{name}' lacks {', '.join(missing)}")
    for key, value in memory.items():
        if not isinstance(value, Tensor):
            raise StateError(
                f"the saved state of '{name}' must hold tensors, and its {key} is a {type(value).__name__}"
            )
    tensors = cast("Mapping[str, Tensor]", memory)
    parts = [_BORN] if form == _BORN else [key for key in _PARTS if key in memory]
    if not parts:
        raise StateError(f"the saved state of '{name}' lacks {', '.join(_PARTS)}: one of them")
    for key in sorted(tensors, key=lambda one: one not in parts):
        value = tensors[key]
        if key in _OF_TENSOR:
            fits = value.numel() == 1
        elif key in parts:
            fits = len(value.shape) == len(shape) and all(
                mine in (1, whole) for mine, whole in zip(value.shape, shape, strict=True)
            )
        elif key in entries:
            fits = value.shape == tensors[form].shape
        else:
            fits = value.dim() == 1 and len(value) > 0
        if not fits:
            raise StateError(
                f"the saved state of '{name}' has {key} of shape {tuple(value.shape)}, the parameter is of "
                f"{tuple(shape)}"
            )
    for key in parts if form != _BORN else ():
        numbers = tensors[key]
        if numbers.is_floating_point() or not 0 <= int(numbers.min()) <= int(numbers.max()) < len(
            tensors["births"]
        ):
            raise StateError(
                f"the saved state of '{name}' has {key} that are no numbers of its {len(tensors['births'])} births"
            )
