"""Every operation of a run: which values it reads and writes, and in which module.

`nn/flow.py` runs a model under it, in evaluation and in training mode.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from regrow.graph.calling import tensors_in
from regrow.graph.dispatch import WatchingMode, address

_Read = tuple[nn.Module | None, str]
"""The innermost module that was running, and the operation."""


@dataclass
class Value:
    """What a storage held from one writing operation to the next."""

    born: int  # number of the operation that wrote it
    reads: list[_Read] = field(default_factory=list[_Read])  # in order
    # By module that gave it as its output: how many reads lay before that, and the tensor that was given.
    made: dict[nn.Module, tuple[int, Tensor]] = field(
        default_factory=dict[nn.Module, tuple[int, Tensor]]
    )
    given_out: bool = False  # it is (part of) the model's output


@dataclass(frozen=True)
class Arrival:
    """What came to a module in one call: the value, and the tensor that looked at it; both None where unknown."""

    value: Value | None
    tensor: Tensor | None


class Recorder(WatchingMode):
    """Sees every operation of one run, and which module was running: what each took and gave is added to records."""

    def __init__(
        self,
        # The model's: others that run meanwhile are none of its parts.
        modules: Container[nn.Module],
        taken: dict[nn.Module, list[Arrival]],
        given: dict[nn.Module, list[Value | None]],
    ) -> None:
        super().__init__()
        self._modules, self._taken, self._given = modules, taken, given
        self._current: dict[int, Value] = {}
        self._alive: list[Tensor] = []
        self._running: list[tuple[nn.Module, int]] = []
        self._count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note whose values it read and wrote."""
        named = dict(kwargs or {})
        out = func(*args, **named)
        self._count += 1
        schema = func._schema  # pyright: ignore[reportPrivateUsage]
        inputs = {address(each): each for each in _dense((*args, *named.values()))}
        outputs = _dense((out,))
        if outputs and not schema.is_mutable and all(address(o) in inputs for o in outputs):
            return out  # a view: it reads nothing
        running = self._running[-1][0] if self._running else None
        for memory in inputs:
            if memory in self._current:
                self._current[memory].reads.append(
                    (running, schema.name.partition("::")[2].strip("_"))
                )
        # A write ends the old value: who reads the memory afterwards does not take what the module gave, and a layer
        # that is folded into its neighbour would change what others get.
        written = set(_written(func, args, named)) if schema.is_mutable else set[int]()
        written |= {address(each) for each in outputs} - inputs.keys()
        for memory in written:
            self._current[memory] = Value(self._count)
        # All of them, for the length of one run: there is nothing smaller that keeps an address from being given to
        # another.
        self._alive += outputs  # an address belongs to one storage only while that lives
        return out

    def enter(self, module: nn.Module, args: Any) -> None:
        """A module begins to run."""
        if module not in self._modules:
            return
        first = next(iter(_dense(args)), None)
        value = None if first is None else self._current.get(address(first))
        self._taken.setdefault(module, []).append(Arrival(value, first))
        self._running.append((module, self._count))

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """A module has run."""
        if module not in self._modules:
            return
        since = self._count
        # Modules inside that ended with an error, which the model caught, have not left: they are taken off with this
        # one.
        while self._running:
            left, since = self._running.pop()
            if left is module:
                break
        value = self._current.get(address(output)) if isinstance(output, Tensor) else None
        if isinstance(output, Tensor) and value is not None and value.born > since:
            # Reads up to here are the module's own work on its result. Only later ones are somebody who takes it.
            value.made[module] = (len(value.reads), output)
        else:
            value = None
        self._given.setdefault(module, []).append(value)

    def finish(self, output: Any) -> None:
        """The model has run."""
        for tensor in tensors_in(output):
            if tensor.layout == torch.strided and address(tensor) in self._current:
                self._current[address(tensor)].given_out = True


def _written(
    func: OpOverload[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[int]:
    """The storages of the arguments that an operation writes into."""
    arguments = func._schema.arguments  # pyright: ignore[reportPrivateUsage]
    for place, argument in enumerate(arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            yield from map(address, _dense((value,)))


def _dense(values: object) -> list[Tensor]:
    return [tensor for tensor in tensors_in(values) if tensor.layout == torch.strided]
