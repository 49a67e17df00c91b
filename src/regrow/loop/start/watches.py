"""The watches of a recipe on its optimizers: who sees their steps, and keeps their state of renewed entries right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal
from weakref import WeakSet

from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.compose import Recipe
from regrow.loop.optimizers import OptimizerWatch
from regrow.surgery import OptimizerSurgeon

_WATCHES: WeakSet[OptimizerWatch] = WeakSet()
"""All that are at work: two recipes on one optimizer share what is kept of its state."""


def watches_of(
    recipe: Recipe,
    optimizers: Sequence[Optimizer],
    parameters: Mapping[str, Tensor],
    *,
    reset_state: Literal["exact", "zero"],
    dry_run: bool,
) -> list[OptimizerWatch]:
    """One a optimizer; with a surgeon, where its state is written."""
    exact = recipe.optimizer_state == "exact"
    # Where nothing is kept, and in a drop, which clears what is out: any optimizer's state can be zeroed.
    writes = not dry_run and (recipe.drop or recipe.optimizer_state != "kept")
    resets = reset_state if exact else "zero"
    found: list[OptimizerWatch] = []
    for one in optimizers:
        surgeon = _surgeon(one, parameters, reset_state=resets, ages=exact) if writes else None
        found.append(OptimizerWatch(one, surgeon))
    _WATCHES.update(found)
    return found


def _surgeon(
    optimizer: Optimizer,
    parameters: Mapping[str, Tensor],
    *,
    reset_state: Literal["exact", "zero"],
    ages: bool,
) -> OptimizerSurgeon:
    """It shares its young entries with that of another recipe: apart, two would correct them twice."""
    mine = {name: each for name, each in parameters.items() if isinstance(each, nn.Parameter)}
    others = (each.surgeon for each in _WATCHES if each.active and each.optimizer is optimizer)
    other = next(filter(None, others), None)
    return OptimizerSurgeon(optimizer, mine, reset_state=reset_state, other=other, ages=ages)
