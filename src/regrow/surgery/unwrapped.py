"""The torch optimizer inside what holds it."""

from __future__ import annotations

from typing import Final

from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.surgery.optimizers.base import tensors_held_by

_LOOKAHEAD: Final = "timm.optim.lookahead.Lookahead"


def unwrap_optimizer(optimizer: object) -> Optimizer:
    """The torch optimizer inside wrappers that hold it as ``.optimizer`` (Accelerate, Lightning, among others).

    Such wrappers are often subclasses of Optimizer themselves, without hooks and state of their own. timm's Lookahead
    is one too: its slow weights are in the state of the optimizer that it steps.
    """
    inner: object = optimizer
    while (within := _within(inner)) is not None:
        if isinstance(inner, Optimizer) and not isinstance(within, Optimizer):
            break
        _refuse_memory(inner, within)
        inner = within
    if not isinstance(inner, Optimizer):
        raise OptimizerError(
            f"a torch.optim.Optimizer is needed, got {type(optimizer).__name__} (attach)"
        )
    return inner


def _within(holder: object) -> object | None:
    if any(f"{kind.__module__}.{kind.__qualname__}" == _LOOKAHEAD for kind in type(holder).__mro__):
        return getattr(holder, "_base_optimizer", None)
    return getattr(holder, "optimizer", None)


def _refuse_memory(holder: object, within: object) -> None:
    """A wrapper with tensors of its own for each parameter would write what they keep over renewed filters."""
    own = getattr(holder, "__dict__", {}).get("state")
    if own is None or own is getattr(within, "state", None):
        return
    if any(each.numel() > 1 for each in tensors_held_by(own)):
        raise OptimizerError(
            f"{type(holder).__name__} keeps weights or a state of its own besides the optimizer that it steps, and "
            f"would write the old filters over renewed ones: train with that optimizer alone (attach)"
        )
