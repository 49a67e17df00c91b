"""Tensors inside whatever an optimizer keeps: what cannot be edited entry by entry must be seen, not passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from torch import Tensor, nn
from torch.optim import Optimizer

_DEEP: Final = 4
_ITS_OWN: Final = frozenset({"state", "param_groups", "defaults"})


def tensors_held_by(value: object, *, deep: int = _DEEP) -> Iterator[Tensor]:
    """The tensors in a value, also in containers and in the attributes of objects.

    Args:
        value: Anything.
        deep: How many containers within containers are opened.

    Yields:
        Tensors.

    Examples:
        >>> import torch
        >>> [t.tolist() for t in tensors_held_by({"Q": [torch.zeros(1), (torch.ones(2), "name")]})]
        [[0.0], [1.0, 1.0]]
    """
    if isinstance(value, Tensor):
        yield value
        return
    if deep == 0 or isinstance(value, (str, bytes, type, nn.Module)) or callable(value):
        return
    inside: Iterable[Any]
    if isinstance(value, Mapping):
        inside = cast("Mapping[Any, Any]", value).values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = cast("Iterable[Any]", value)
    else:
        inside = getattr(value, "__dict__", {}).values()
    for each in inside:
        yield from tensors_held_by(each, deep=deep - 1)


def memories(state: Mapping[str, Any], parameter: Tensor) -> dict[str, Any]:
    """What an optimizer keeps of a parameter that is more than one number for the whole tensor.

    Args:
        state: The optimizer's state of it.
        parameter: The parameter.

    Returns:
        Tensors, and what holds tensors, by key.
    """
    return {
        key: value
        for key, value in state.items()
        if key != "step" and any(_is_large(each, parameter) for each in tensors_held_by(value))
    }


def elsewhere(optimizer: Optimizer) -> str | None:
    """The name of an attribute in which an optimizer keeps tensors beside its state.

    Args:
        optimizer: The optimizer.

    Returns:
        The first found; None if there is none. Its parameters do not count.
    """
    own = {id(each) for group in optimizer.param_groups for each in group["params"]}
    for key, value in vars(optimizer).items():
        if key not in _ITS_OWN and not key.startswith("_optimizer_"):
            found = (each for each in tensors_held_by(value) if id(each) not in own)
            if any(each.numel() > 1 for each in found):
                return key
    return None


def inner_optimizer(optimizer: Optimizer) -> str | None:
    """The name of an attribute in which an optimizer holds another.

    Args:
        optimizer: The optimizer.

    Returns:
        The first found; None if there is none.
    """
    return next((k for k, v in vars(optimizer).items() if isinstance(v, Optimizer)), None)


def _is_large(tensor: Tensor, parameter: Tensor) -> bool:
    return tensor.numel() > 1 or (tensor.dim() > 0 and tensor.shape == parameter.shape)
