"""The torch optimizer inside what holds it."""

from __future__ import annotations

from torch.optim import Optimizer

from regrow.errors import OptimizerError


def unwrap_optimizer(optimizer: object) -> Optimizer:
    """The torch optimizer inside wrappers that hold it as ``.optimizer`` (Accelerate, Lightning, among others).

    Such wrappers are often subclasses of Optimizer themselves, without hooks and state of their own.

    Args:
        optimizer: An optimizer or a wrapper.

    Returns:
        The innermost optimizer, the one whose step hooks fire.

    Raises:
        OptimizerError: There is none inside.
    """
    inner: object = optimizer
    while (within := getattr(inner, "optimizer", None)) is not None:
        if isinstance(inner, Optimizer) and not isinstance(within, Optimizer):
            break
        inner = within
    if not isinstance(inner, Optimizer):
        raise OptimizerError(
            f"a torch.optim.Optimizer is needed, got {type(optimizer).__name__} (attach)"
        )
    return inner
