"""What a model is inspected on: one batch, or a loader's batches one after the other."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from regrow.errors import ConfigError
from regrow.graph.calling import call_arguments, map_tensors, tensors_in

_PAIR: Final = 2

_DRAWS_FROM: Final = ("sampler", "batch_sampler", "dataset")
"""Where a loader, or a sampler, keeps what it draws from."""

_WRAPPED: Final = 3
"""How often one may be wrapped by another."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the model is called with once, and what its output is compared with."""

    inputs: Any  # a tensor, the forward's arguments in a tuple, or by name in a dict
    targets: Any = None  # as the loss takes them; None: there are none

    def on(self, device: torch.device) -> Batch:
        """A copy where the model is: loaders give batches on the CPU."""

        # Not the loader's own: what was made in inference mode could not be kept for a backward pass.
        def copied(each: Tensor) -> Tensor:
            return each.detach().to(device, copy=True)

        return Batch(
            inputs=map_tensors(self.inputs, copied), targets=map_tensors(self.targets, copied)
        )

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """By place and by name, as copies: a model may write into its input."""
        return call_arguments(self.inputs)

    def example(self) -> Any:
        """Two examples of it, where all its tensors have the examples on axis 0; else all of it."""
        lengths = {len(each) if each.ndim else None for each in tensors_in(self.inputs)}
        if len(lengths) == 1 and None not in lengths:
            return map_tensors(self.inputs, lambda each: each[:2])
        return self.inputs

    def __len__(self) -> int:
        """How many examples it has: the length of its first tensor."""
        return next((len(each) for each in tensors_in(self.inputs) if each.ndim), 1)


def batches_of(given: object, *, targets: object) -> Iterable[Batch]:
    """One batch, or those of a loader: each a tensor, a dict of arguments, or a pair of inputs and targets."""
    if isinstance(given, list) and any(isinstance(each, Tensor) for each in given):
        # What a loader gives is a list of inputs and targets, and as a list of batches it would be read wrongly.
        raise ConfigError(
            "batch_or_loader must be no list with tensors in it, which could be batches, arguments or inputs and "
            "targets: give inspect(model, inputs, targets=targets), the forward's arguments in a tuple, or batches as "
            "pairs or dicts (inspect)"
        )
    if isinstance(given, (Tensor, Mapping, tuple)):
        return (Batch(inputs=given, targets=targets),)
    if not isinstance(given, Iterable):
        raise ConfigError(
            "batch_or_loader must be a batch (a tensor, a tuple of the forward's arguments or a dict of its keyword "
            f"arguments) or an iterable of batches, got {type(given).__name__} (inspect)"
        )
    if targets is not None:
        raise ConfigError(
            "targets must be left out beside a loader, which gives pairs of inputs and targets (inspect)"
        )
    return _told(given)


def _told(loader: Iterable[object]) -> Generator[Batch]:
    for number, each in enumerate(loader):
        if isinstance(each, (Tensor, Mapping)):
            yield Batch(inputs=each)
        elif isinstance(each, Sequence) and 0 < len(each) <= _PAIR:
            yield Batch(inputs=each[0], targets=each[1] if len(each) == _PAIR else None)
        else:
            raise ConfigError(
                "a loader must give tensors, dicts of the forward's keyword arguments, or pairs of inputs and targets; "
                f"batch {number} is {_called(each)} (inspect)"
            )


def _called(each: object) -> str:
    kind = type(each).__name__
    return f"a {kind} of {len(each)}" if isinstance(each, Sequence) else f"a {kind}"


@contextmanager
def generators_kept(loader: object) -> Generator[None]:
    """A loader's own random numbers afterwards are those that would have come anyway, and so are numpy's."""
    owners = [loader]
    for _ in range(_WRAPPED):
        owners += [getattr(owner, name, None) for owner in owners for name in _DRAWS_FROM]
    found = [getattr(owner, "generator", None) for owner in owners]
    kept = [(each, each.get_state()) for each in found if isinstance(each, torch.Generator)]
    numpy: Any = sys.modules.get("numpy.random")  # data sets may draw with it; regrow does without
    numbers = None if numpy is None else numpy.get_state()
    try:
        yield
    finally:
        for generator, state in kept:
            generator.set_state(state)
        if numpy is not None:
            numpy.set_state(numbers)
