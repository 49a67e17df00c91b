"""Which optimizers are known, which are refused, and why."""

from __future__ import annotations

import inspect
from typing import Any, Final

from torch import optim
from torch.optim import Optimizer

from regrow._checks import check_choice
from regrow.errors import OptimizerError
from regrow.surgery.optimizers.adagrad import Adagrad
from regrow.surgery.optimizers.adam import Adam, Adamax, AdamW
from regrow.surgery.optimizers.asgd import ASGD
from regrow.surgery.optimizers.base import LEAVE, Family, coupling
from regrow.surgery.optimizers.foreign import (
    FOREIGN,
    FOREIGN_NO_ZERO,
    FOREIGN_REFUSED,
    qualified,
)
from regrow.surgery.optimizers.memoryless import Adadelta, RMSprop
from regrow.surgery.optimizers.nadam import NAdam
from regrow.surgery.optimizers.rectified import RAdam
from regrow.surgery.optimizers.rprop import Rprop
from regrow.surgery.optimizers.sgd import SGD
from regrow.surgery.optimizers.zeroed import Zeroed

FAMILIES: Final[dict[type[Optimizer], Family]] = {
    optim.SGD: SGD(),
    optim.Adam: Adam(),
    optim.AdamW: AdamW(),
    optim.NAdam: NAdam(),
    optim.RAdam: RAdam(),
    optim.Adamax: Adamax(),
    optim.Adagrad: Adagrad(),
    optim.Adadelta: Adadelta(),
    optim.RMSprop: RMSprop(),
    optim.ASGD: ASGD(),
    optim.Rprop: Rprop(),
}
"""The optimizers whose state of a renewed unit is made exactly that of a fresh one."""

REFUSED: Final[dict[str, str]] = {
    "Adafactor": "its step is clipped by a norm over the whole tensor and scaled by the tensor's size, and the "
    "second moments of a matrix are sums over its rows and over its columns",
    "LBFGS": "it evaluates the loss many times in one step and couples all parameters",
    "Muon": "it makes the momentum of a whole matrix orthogonal, so that every unit's step depends on all others",
    "SparseAdam": "it takes sparse gradients only, which no convolution or linear layer has",
}
"""torch's own optimizers that no exact edit can follow, by name (not every torch has all of them), and why."""

NO_ZERO: Final[dict[str, str]] = {
    "Adafactor": "its factored second moments belong to rows and columns, not to entries",
    "LBFGS": "its history is of all parameters together",
    "SparseAdam": "there is no such gradient of a filter",
}
"""Optimizers for which ``reset_state='zero'`` is refused as well, and why."""


_ARITHMETIC: Final = ("step", "_init_group", "_collect_group")
"""Methods that a subclass must inherit to be as its parent: the step, and the making of the state."""


def bare_method(kind: type[Optimizer], name: str) -> Any:
    """A method as it was written: torch wraps ``step`` in a profiler's range, once for a class."""
    method = getattr(kind, name, None)
    return None if method is None else inspect.unwrap(method)


def known_kind(optimizer: Optimizer) -> type[Optimizer] | None:
    """The known class whose arithmetic an optimizer has.

    Examples:
        >>> import torch
        >>> class Renamed(torch.optim.Adam):
        ...     pass
        >>> known_kind(Renamed([torch.zeros(1)])).__name__
        'Adam'
    """
    for kind in type(optimizer).__mro__:
        if kind in FAMILIES or qualified(kind) in FOREIGN:
            same = all(
                bare_method(type(optimizer), name) is bare_method(kind, name)
                for name in _ARITHMETIC
            )
            return kind if same else None
    return None


ZERO: Final = "reset_state='zero' zeroes what has the parameter's shape, which may be inexact"
"""The way out of most optimizers that are not known."""


def _refusal(optimizer: Optimizer) -> tuple[str, str]:
    """Why no exact edit can follow an optimizer, and why zeroing cannot either; empty where there is no reason."""
    for kind in type(optimizer).__mro__:
        name, full = kind.__name__, qualified(kind)
        if kind.__module__.startswith("torch.optim") and name in REFUSED:
            return REFUSED[name], NO_ZERO.get(name, "")
        if full in FOREIGN_REFUSED:
            return FOREIGN_REFUSED[full], FOREIGN_NO_ZERO.get(full, "")
    known = known_kind(optimizer)
    if known is not None:
        return next(filter(None, map(coupling, optimizer.param_groups)), ""), ""
    return "", ""


def family_of(optimizer: Optimizer, *, reset_state: str = "exact") -> Family:
    """How to treat the state of an optimizer."""
    check_choice(reset_state, ("exact", "zero"), name="reset_state", where="attach")
    name = type(optimizer).__name__
    if any(group.get("differentiable", False) for group in optimizer.param_groups):
        raise OptimizerError(
            f"{name} with differentiable=True cannot be edited in place, for autograd follows its steps. {LEAVE}"
        )
    kind, (reason, no_zero) = known_kind(optimizer), _refusal(optimizer)
    if kind is not None and not reason:
        return FAMILIES[kind] if kind in FAMILIES else FOREIGN[qualified(kind)]
    inner = next((k for k, v in vars(optimizer).items() if isinstance(v, Optimizer)), None)
    if inner is not None:
        raise OptimizerError(
            f"{name} steps another optimizer, its '{inner}', and the state is there: attach that one, "
            f"attach(recipe, model, optimizer.{inner}), or {LEAVE}"
        )
    if reset_state == "zero":
        if no_zero:
            raise OptimizerError(f"reset_state='zero' is not for {name}: {no_zero}. {LEAVE}")
        return Zeroed()
    way = f"{ZERO}; {LEAVE}"
    if reason:
        raise OptimizerError(
            f"{name} cannot be edited for one filter: {reason}. {LEAVE if no_zero else way}"
        )
    known = ", ".join(sorted(each.__name__ for each in FAMILIES))
    raise OptimizerError(
        f"the state of {type(optimizer).__module__}.{name} cannot be edited for one filter: its arithmetic is not "
        f"known; known: {known}, those of other packages in docs/optimizers.md, and subclasses that inherit their "
        f"step. {way}"
    )
