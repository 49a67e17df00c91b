"""Young entries as they are saved: tensors by name, and what may be loaded.

Called by `surgery/edits` for a regrower's state, which `loop/saved_state` puts together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import StateError
from regrow.surgery.optimizers.base import Family, options_by_parameter
from regrow.surgery.young import Births, YoungEntries, by_part, read, without

_PARTS: Final = ("rows", "columns", "entries")
_OF_TENSOR: Final = ("waited", "seen", "count")
_NEEDED: Final = ("seen", "waited")
_BORN: Final = "born"
"""The births by entry, as regrow 0.1 has saved them: counts of updates, -1 where an entry is not young."""


def saved(entries: YoungEntries) -> dict[str, Tensor]:
    """What to save of a tensor's young entries, not to be written into."""
    seen = entries.seen
    found = {
        **saved_births(entries.births),
        "seen": seen
        if isinstance(seen, Tensor)
        else torch.tensor(seen, dtype=entries.births.counts.dtype, device="cpu"),
        "waited": torch.tensor(entries.waited, dtype=torch.int64, device="cpu"),
    }
    return found if entries.count is None else {**found, "count": entries.count}


def saved_births(births: Births) -> dict[str, Tensor]:
    """What to save of births."""
    return {"births": births.counts, **births.parts, **births.kept}


def loaded(
    state: Mapping[str, Tensor],
    *,
    name: str,
    parameter: nn.Parameter,
    keys: Collection[str],
    counts: bool,
) -> YoungEntries | None:
    """Young entries that were saved and have passed `check_saved_young`; None: there are none."""
    births = without(
        loaded_births(state, device=parameter.device, keys=keys), older=None, horizon=None
    )
    if births is None:
        return None
    return YoungEntries(
        name=name,
        parameter=parameter,
        births=births,
        seen=read(state["seen"]),
        waited=int(state["waited"]),
        count=None if counts else state["count"].to("cpu"),
    )


def loaded_births(
    state: Mapping[str, Tensor], *, device: torch.device, keys: Collection[str]
) -> Births:
    """Births that were saved, on the device of their parameter."""
    if _BORN in state:
        return _by_entry(state, device=device, keys=keys)
    return Births(
        counts=state["births"].to(device),
        parts={name: state[name].to(device) for name in _PARTS if name in state},
        kept={key: state[key].to(device) for key in keys},
    )


def _by_entry(
    state: Mapping[str, Tensor], *, device: torch.device, keys: Collection[str]
) -> Births:
    """Births of the older form, one an entry: who was born together shares what is kept."""
    born = state[_BORN].to(device)
    known, numbers = torch.unique(born, return_inverse=True)
    old = int((known < 0).sum())  # 0 or 1: -1, which sorts first
    numbers = (numbers + 1 - old).to(torch.int32)
    one = torch.zeros(len(known) + 1 - old, dtype=torch.int64, device=device)
    one[numbers.flatten().long()] = torch.arange(numbers.numel(), device=device)
    return Births(
        counts=torch.cat([born.new_zeros(1), known[old:]]),
        parts=by_part(numbers),
        kept={key: state[key].to(device).flatten()[one] for key in keys},
    )


def check_tensors(
    name: str,
    state: Mapping[str, object],
    *,
    shape: torch.Size,
    entries: Collection[str] = (),
    counts: Collection[str] = (),
) -> None:
    """Refuse saved tensors that are not whole, or not of this parameter."""
    form = _BORN if _BORN in state else "births"
    _need(state, {*_NEEDED, form, *entries, *counts}, of=f"'{name}'")
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise StateError(
                f"the saved state of '{name}' must hold tensors, and its {key} is a {type(value).__name__}"
            )
    tensors = cast("Mapping[str, Tensor]", state)
    parts = [_BORN] if form == _BORN else [key for key in _PARTS if key in state]
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


def check_saved_young(
    state: object,
    *,
    family: Family,
    optimizer: Optimizer,
    parameters: Mapping[str, nn.Parameter],
) -> None:
    """Refuse the saved state of an `OptimizerSurgeon` that is not whole, or not of this optimizer: a StateError."""
    whole = _mapping(state, of="the optimizer surgeon")
    _need(whole, {"family", "young"}, of="the optimizer surgeon")
    mine = type(family).__name__
    if whole["family"] != mine:
        raise StateError(
            f"the saved state is of the optimizer family {whole['family']!r}, this one is {mine!r}"
        )
    young = _mapping(whole["young"], of="the young entries")
    groups = options_by_parameter(optimizer)
    held = {name for name, parameter in parameters.items() if id(parameter) in groups}
    unknown = sorted(str(name) for name in set(young) - held)
    if unknown:
        kind = type(optimizer).__name__
        raise StateError(
            f"the saved state has parameters that are not in this {kind}: {', '.join(unknown)}"
        )
    for name, each in young.items():
        own, parameter = _mapping(each, of=f"'{name}'"), parameters[name]
        kept_state = optimizer.state.get(parameter)
        if not kept_state or (family.counts and "step" not in kept_state):
            raise StateError(
                f"'{name}' has renewed filters in the saved state, and the {type(optimizer).__name__} has no "
                f"state of it: load the optimizer's state too, before the regrower's"
            )
        of_family = set(family.newborn(kept_state, groups[id(parameter)]))
        counted = set[str]() if family.counts else {"count"}
        check_tensors(name, own, shape=parameter.shape, entries=of_family, counts=counted)


def _mapping(value: object, *, of: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise StateError(f"the saved state of {of} must be a dict, got {type(value).__name__}")
    return cast("Mapping[Any, Any]", value)


def _need(state: Mapping[Any, Any], keys: Set[str], *, of: str) -> None:
    missing = sorted(keys - set(state))
    if missing:
        raise StateError(f"the saved state of {of} lacks {', '.join(missing)}")
