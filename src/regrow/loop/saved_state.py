"""A regrower's state: what is saved of a `Stepper`, what it must be before it is loaded, and how it is taken over.

Called by `Regrower.state_dict` and `Regrower.load_state_dict`. Nothing is written before all of a state has been looked
at: one that does not fit leaves the training as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor

from regrow.decision import Born, RecipeState
from regrow.errors import StateError
from regrow.loop.stepper import Stepper

STATE_VERSION: Final = 5
"""Raised with every change of what a saved regrower holds."""

_SAME: Final = ("version", "recipe", "layers", "seed")
_AT_TIMES: Final = {"at_boundary", "boundaries"}
"""Saved only where a boundary was told: a training that has met one may go back to before it."""


def saved(stepper: Stepper) -> dict[str, Any]:
    """Everything that is needed to resume bit for bit; loadable with ``weights_only=True``."""
    guard, recipe, state = stepper.protection, stepper.recipe, stepper.state
    lookout = stepper.lookout
    kept = recipe.optimizer_state == "kept"
    surgeons = [None if kept else watch.surgeon for watch in stepper.watches]
    return {
        "version": STATE_VERSION,
        "recipe": recipe.info.name,
        "layers": dict(stepper.counts),
        "seed": stepper.seed,
        "step": stepper.step,
        "born": dict(state.born),
        "criteria": {layer: dict(own) for layer, own in state.criteria.items()},
        "optimizers": [None if each is None else each.state_dict() for each in surgeons],
        "resting": stepper.drop.state_dict(),
        **stepper.renewer.state_dict(),
        "started_at_zero": [] if lookout is None else sorted(lookout.activity.started_at_zero),
        "report": stepper.report.saved(),
        **({"selection": dict(state.selection)} if recipe.select.remembers else {}),
        **({"at_boundary": True} if stepper.boundary_at == stepper.step else {}),
        **({} if stepper.network is None else {"network": stepper.network.state_dict()}),
        **({} if guard is None else {"guard": guard.state_dict(stepper.report)}),
    }


def load(stepper: Stepper, state: Mapping[str, Any]) -> None:
    """Resume; see `Regrower.load_state_dict`."""
    state = brought_up(state)
    check_saved(state, saved(stepper))
    surgeons = [
        (watch.surgeon, own)
        for watch, own in zip(stepper.watches, state["optimizers"], strict=True)
        if watch.surgeon is not None and own is not None
    ]
    for surgeon, own in surgeons:
        surgeon.check_state(own)
    stepper.drop.check_state(state["resting"], stepper.counts)
    stepper.renewer.check_state(state)
    if stepper.network is not None:
        stepper.network.check_state(state["network"])
    born = {path: state["born"][path].tolist() for path in stepper.layers}
    out = {path: mask.tolist() for path, mask in state["resting"]["masks"].items()}
    step = int(state["step"])
    stepper.ranks.check_same({"step": step, "born": born, "resting": out}, where="load_state_dict")
    for surgeon, own in surgeons:
        surgeon.load_state_dict(own)
    stepper.drop.load_state_dict(state["resting"])
    tensors = stepper.renewer.tensors
    devices = {path: tensors[each.filters.weight].device for path, each in stepper.layers.items()}
    stepper.renewer.load_state_dict(state)
    stepper.report.restore(state["report"], steps=step)
    if stepper.protection is not None:
        stepper.protection.load_state_dict(state["guard"], stepper.report)
    if stepper.network is not None:
        stepper.network.load_state_dict(state["network"], stepper.report)
    stepper.resume(
        recipe_state(state, devices),
        step=step,
        zeros=state["started_at_zero"],
        at_boundary=bool(state.get("at_boundary", False)),
    )


def brought_up(state: object) -> Any:
    """A saved state of version 4 as one of today's, which knows of norms that average with a count of their own.

    Examples:
        >>> brought_up({"version": 4, "step": 7})
        {'version': 5, 'step': 7, 'counted': {}}
    """
    if isinstance(state, Mapping):
        known = cast("Mapping[str, Any]", state)
        if known.get("version") == STATE_VERSION - 1:
            return {**known, "version": STATE_VERSION, "counted": {}}
    return state


def check_saved(state: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Refuse a saved state of another regrower, or one that is not whole."""
    if not isinstance(state, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] # users give what they have
        raise StateError(
            f"a saved regrower is a dict, as state_dict() gives it, got {type(state).__name__}"
        )
    for key in _SAME:
        if state.get(key) != mine[key]:
            raise StateError(
                f"the saved regrower has {key} {state.get(key)!r}, this one has {mine[key]!r}"
            )
    missing = sorted(set(mine) - set(state) - _AT_TIMES)
    if missing:
        raise StateError(f"the saved regrower lacks {', '.join(missing)}")
    kept = [[each is not None for each in one["optimizers"]] for one in (state, mine)]
    if kept[0] != kept[1]:
        raise StateError(
            "the saved regrower and this one differ in optimizer_state, or in their number of optimizers"
        )
    lacking = sorted(set(mine["report"]) - set(state["report"]) - _AT_TIMES)
    if lacking:
        raise StateError(f"the saved regrower's report lacks {', '.join(lacking)}")
    for path, count in mine["layers"].items():
        born, own = state["born"].get(path), state["criteria"].get(path)
        if not isinstance(born, Tensor) or born.shape != (count,) or not _is_state_of(own, count):
            raise StateError(f"the saved regrower's state of '{path}' is not whole")


def recipe_state(state: Mapping[str, Any], devices: Mapping[str, torch.device]) -> RecipeState:
    """What the recipe knew, each layer's on its device."""
    return RecipeState(
        criteria={
            path: {
                key: value.to(device) if isinstance(value, Tensor) else value
                for key, value in state["criteria"][path].items()
            }
            for path, device in devices.items()
        },
        born=Born({path: state["born"][path].to("cpu") for path in devices}),
        selection=dict(state.get("selection", {})),
    )


def _is_state_of(state: object, count: int) -> bool:
    """What a criterion knows of a layer, by name: tensors with filters in front, and single numbers."""
    return isinstance(state, Mapping) and all(
        isinstance(value, int | float)
        or (isinstance(value, Tensor) and (value.numel() == 1 or value.shape[:1] == (count,)))
        for value in cast("Mapping[str, object]", state).values()
    )
