"""One memory for the tensors of several networks, in rows: what a network owns lies together.

Made by `engine/stack.py`, once for its networks; layers and optimizers of the engine work on views of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Final

import torch
from torch import Tensor, nn

from regrow.errors import ConfigError, ShapeError

ALIGNED: Final = 16
"""Numbers; each tensor begins at a multiple: products take another way through memory that is not aligned."""


class Rows:
    """Tensors of one name in all networks as one tensor (N, *shape), and all tensors of one network as one row."""

    def __init__(
        self,
        shapes: dict[str, torch.Size],  # of one network's tensors, by name
        *,
        networks: int,  # N
        dtype: torch.dtype,  # of the numbers
        device: torch.device,  # where they are
    ) -> None:
        self._shapes = shapes
        sizes = [-(-math.prod(shape) // ALIGNED) * ALIGNED for shape in shapes.values()]
        starts = list(accumulate(sizes, initial=0))
        self._parts = dict(zip(shapes, map(slice, starts, starts[1:]), strict=True))
        # (N, P); between the tensors a few zeros that belong to nobody. These gaps hold 0, have gradient 0 and state 0,
        # and so stay 0 under every optimizer that goes over a whole row at once.
        self.flat = torch.zeros(networks, starts[-1], dtype=dtype, device=device)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in their order."""
        return tuple(self._shapes)

    def like(self) -> Rows:
        """Zeros of the same shapes, in a memory of their own."""
        flat = self.flat
        return Rows(self._shapes, networks=len(flat), dtype=flat.dtype, device=flat.device)

    def all(self, name: str) -> Tensor:
        """One tensor of all networks, (N, *shape): a view."""
        shape, start = self._shapes[name], self._parts[name].start
        part = self.flat[:, start : start + math.prod(shape)]
        return part.unflatten(1, shape) if len(shape) else part.squeeze(1)

    def spans(self, of: Collection[str]) -> tuple[slice, ...]:
        """The parts of a row of `flat` that hold these tensors; neighbours together."""
        found: list[slice] = []
        for part in [part for name, part in self._parts.items() if name in of]:
            # Neighbours in one slice: a step is then few calls on long memory, whatever number of tensors there are.
            if found and found[-1].stop == part.start:
                found[-1] = slice(found[-1].start, part.stop)
            else:
                found.append(part)
        return tuple(found)


class Memory:
    """The parameters, gradients and buffers of several networks of one kind.

    The networks' own parameters and buffers become views of it and keep their identity: what edits a network edits the
    memory, and the other way round.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._models = tuple(models)  # the networks
        first = dict(models[0].named_parameters())
        example = next(iter(first.values()))
        dtype, device = example.dtype, example.device
        _check_alike(models, dtype=dtype, device=device)
        shapes = {name: parameter.shape for name, parameter in first.items()}
        self.parameters = Rows(shapes, networks=len(models), dtype=dtype, device=device)  # by name
        self.gradients = self.parameters.like()  # likewise
        real = {
            name: buffer.shape
            for name, buffer in models[0].named_buffers()
            if buffer.is_floating_point()
        }
        # Those that are floating point, by name.
        self.buffers = Rows(real, networks=len(models), dtype=dtype, device=device)
        self._grads: list[list[tuple[str, nn.Parameter, Tensor]]] = []
        for network, model in enumerate(models):
            own = dict(model.named_parameters())
            for name, parameter in own.items():
                # The parameter object stays: optimizers, recipes and saved wirings hold it, and would go on editing
                # memory that nobody trains with if a new one took its place.
                _move_(parameter, self.parameters.all(name)[network])
            for name, buffer in model.named_buffers():
                if name in real:
                    _move_(buffer, self.buffers.all(name)[network])
            self._grads.append(
                [(name, own[name], self.gradients.all(name)[network]) for name in shapes]
            )

    def show_gradients(self, hidden: Collection[str] = ()) -> None:
        """Let each parameter's ``grad`` be its part of the gradients, also where somebody took it; None of `hidden`."""
        for known in self._grads:
            for name, parameter, grad in known:
                # `zero_grad()` sets gradients to None, and a user's own code may too: the views are put back at each
                # pass.
                wanted = None if name in hidden else grad
                if parameter.grad is not wanted:
                    parameter.grad = wanted

    def without_gradients(self) -> tuple[int, ...]:
        """The networks whose gradients somebody has taken away since the last pass: every one of them."""
        return tuple(
            network
            for network, known in enumerate(self._grads)
            if known[0][1].grad is None and all(parameter.grad is None for _, parameter, _ in known)
        )

    def release(self) -> None:
        """Give each network memory of its own again, with the numbers as they are, and no gradients."""
        for model in self._models:
            for _, tensor in _tensors(model):
                # The gradients are views of the stack's memory: one that stays would keep all of it.
                tensor.grad = None
                _move_(tensor, torch.empty_like(tensor))


def _move_(tensor: Tensor, place: Tensor) -> None:
    """The same tensor object with the same numbers, elsewhere."""
    with torch.no_grad():
        place.copy_(tensor)
        tensor.set_(place.detach())  # pyright: ignore[reportArgumentType,reportCallIssue]


def _check_alike(models: Sequence[nn.Module], *, dtype: torch.dtype, device: torch.device) -> None:
    if dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"the engine works in float32 or float64, got {dtype}")
    wanted = {name: tensor.shape for name, tensor in _tensors(models[0])}
    for number, model in enumerate(models):
        if {name: tensor.shape for name, tensor in _tensors(model)} != wanted:
            raise ShapeError(f"network {number} has other tensors than network 0 (Stack)")
        for name, tensor in _tensors(model):
            kind = tensor.dtype if tensor.is_floating_point() else dtype
            if (kind, tensor.device) != (dtype, device):
                raise ConfigError(
                    f"'{name}' of network {number} must be {dtype} on {device}, got {tensor.dtype} on {tensor.device}"
                )


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]
