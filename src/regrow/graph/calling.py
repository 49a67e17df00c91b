"""How a model is called on an example, and the tensors in what it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from torch import Tensor, nn

from regrow.errors import TraceError

ExampleInputs = Tensor | Sequence[Any] | Mapping[str, Any]
"""One tensor, the positional arguments of the model's forward, or its keyword arguments."""

_CLOSED: Final = (
    *(str, bytes, bytearray, int, float, complex, type, nn.Module, ModuleType),
    *(FunctionType, BuiltinFunctionType, MethodType),
)
"""What is not looked into: the model itself and its like would show tensors that nobody was given."""


def call_arguments(example_inputs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call; tensors are copied, since a model may write into its input."""
    copied = map_tensors(example_inputs, lambda tensor: tensor.detach().clone())
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


def copied(args: Iterable[Any], named: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments by place and by name, tensors copied: what comes later in a pass may write into them."""
    return call_arguments(tuple(args))[0], call_arguments(dict(named))[1]


def tensors_in(value: object) -> Iterator[Tensor]:
    """The tensors in nested containers, and in the attributes of objects of any class; an iterator is not used up."""
    # Detectors give boxes and instances in classes of their own, and a head whose output was not found there would be
    # taken for a layer that nobody needs. What only an object's methods or properties give is not found.
    yield from _inside(value, set())


def is_list_of_tensors(value: object) -> bool:
    """Whether this is a list, and no tuple, of nothing but tensors: a model may take it whole."""
    return isinstance(value, list) and bool(value) and all(isinstance(x, Tensor) for x in value)


def _inside(value: object, met: set[int]) -> Iterator[Tensor]:
    """`met` has the objects that were looked into: they may point at each other."""
    if isinstance(value, Tensor):
        yield value
        return
    parts: Iterable[object]
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = value
    elif isinstance(value, _CLOSED) or id(value) in met:
        return
    else:
        met.add(id(value))
        parts = _attributes(value)
    for part in parts:
        yield from _inside(part, met)


def _attributes(value: object) -> list[object]:
    """The values of an object's own attributes, those in slots first."""
    named = [
        name
        for kind in type(value).__mro__
        for name in _names(vars(kind).get("__slots__", ()))
        if name not in ("__dict__", "__weakref__")
    ]
    slots = [getattr(value, name) for name in named if hasattr(value, name)]
    return [*slots, *vars(value).values()] if hasattr(value, "__dict__") else slots


def _names(slots: object) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots) if isinstance(slots, Iterable) else []


def map_tensors(value: object, change: Callable[[Tensor], Tensor]) -> object:
    """The same nest of dicts, lists and tuples with other tensors; what is in objects of other classes stays."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, change) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(map_tensors(item, change) for item in value)  # pyright: ignore
    return value
