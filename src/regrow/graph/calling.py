"""How a model is called on an example, and the tensors in what it takes and gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from regrow.errors import TraceError

ExampleInputs = Tensor | Sequence[Any] | Mapping[str, Any]
"""One tensor, the positional arguments of the model's forward, or its keyword arguments."""


def call_arguments(example_inputs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call; tensors are copied, for a model may write into its input.

    Args:
        example_inputs: One tensor, a tuple or list of positional arguments, or a dict of keyword arguments.

    Returns:
        The arguments.

    Raises:
        TraceError: Anything else.
    """
    copied = _copied(example_inputs)
    if isinstance(copied, Tensor):
        return (copied,), {}
    if isinstance(copied, Mapping):
        return (), dict(copied)
    if isinstance(copied, (list, tuple)):
        return tuple(copied), {}
    raise TraceError(
        "example inputs must be a tensor, a tuple of the forward's arguments or a dict of its keyword arguments, "
        f"got {type(example_inputs).__name__}"
    )


def tensors_in(value: object) -> Iterator[Tensor]:
    """The tensors in nested containers and dataclasses.

    Args:
        value: What a model takes or gives.

    Yields:
        Each tensor.
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from tensors_in(getattr(value, each.name))


def _copied(value: object) -> object:
    """The same nest of containers with copies of its tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_copied(item) for item in value)  # pyright: ignore
    return value
