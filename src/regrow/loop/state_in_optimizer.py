"""A regrower's state inside its optimizer's state dict, for trainers that save and load the optimizer.

Entries of a parameter group survive `Optimizer.load_state_dict`, whoever calls it and whenever: so the state travels in
the first group of what is saved. It is never in the optimizer at work, but from a load until somebody attaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakSet

from torch.optim import Optimizer

from regrow.errors import ConfigError
from regrow.loop.regrower import Regrower

_KEY: Final = "regrow"

_AT_WORK: WeakSet[StateInOptimizer] = WeakSet()
"""All that there are, as long as their optimizers are: these hold them by their hooks."""


class StateInOptimizer:
    """Saves a regrower with its last optimizer, loads it behind it, and has it go on from what came with that."""

    def __init__(self, regrower: Regrower, optimizer: Optimizer) -> None:
        self.regrower, self.optimizer = regrower, optimizer
        saved = brought(optimizer, regrower.report.recipe)
        # The step of the trainer, by its own count, in which the regrower's first one was made.
        self.offset: int = 0 if saved is None else saved["offset"]
        before = _other(optimizer, regrower.report.recipe)
        if before is not None:
            before.release()
        _pop(optimizer, regrower.report.recipe)
        if saved is not None:
            regrower.load_state_dict(saved["state"])
        self._handles = [
            optimizer.register_state_dict_post_hook(self._put),
            optimizer.register_load_state_dict_post_hook(self._take),
        ]
        _AT_WORK.add(self)

    def release(self) -> None:
        """Save and load no more."""
        for handle in self._handles:
            handle.remove()
        _AT_WORK.discard(self)

    @property
    def saved(self) -> dict[str, Any]:
        """What goes along."""
        return {"state": self.regrower.state_dict(), "offset": self.offset}

    def _put(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        """The optimizer's state has been asked for: its groups are new dicts, and not those that are at work."""
        group = state["param_groups"][0]
        group[_KEY] = {**group.get(_KEY, {}), self.regrower.report.recipe: self.saved}

    def _take(self, optimizer: Optimizer) -> None:
        """The optimizer has been loaded: from a state without one of ours, nothing comes."""
        saved = _pop(optimizer, self.regrower.report.recipe)
        if saved is not None:
            self.regrower.load_state_dict(saved["state"])
            self.offset = saved["offset"]


def brought(optimizer: Optimizer, recipe: str) -> Mapping[str, Any] | None:
    """What an optimizer has of a recipe: what was loaded into it, or what a detached regrower has left."""
    loaded = optimizer.param_groups[0].get(_KEY, {}).get(recipe)
    before = _other(optimizer, recipe)
    if before is None:
        return loaded
    if before.regrower.is_at_work_on([optimizer]):
        raise ConfigError(
            f"the recipe '{recipe}' is at work on this optimizer already, and its state goes with it: call the first "
            "regrower's detach() before (attach, state_in_optimizer)"
        )
    return before.saved


def _other(optimizer: Optimizer, recipe: str) -> StateInOptimizer | None:
    mine = (each for each in _AT_WORK if each.optimizer is optimizer)
    return next((each for each in mine if each.regrower.report.recipe == recipe), None)


def _pop(optimizer: Optimizer, recipe: str) -> Mapping[str, Any] | None:
    group = optimizer.param_groups[0]
    held = group.get(_KEY, {})
    found = held.pop(recipe, None)
    if not held:
        group.pop(_KEY, None)
    return found
