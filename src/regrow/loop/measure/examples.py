"""Calibration data: inputs, what the output is compared with, and by which loss.

Made at attach of the user's calibration data; `Probe` and `Gates` run the model on it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from regrow.errors import ConfigError
from regrow.graph.calling import tensors_in
from regrow.loop.measure.data import CalibrationData

CalibrationLoss = Callable[[Any, Tensor], Tensor]
"""What the model gives and targets, to the mean loss of the batch."""

_NUMBERS = 2**22
"""Input numbers that go through the model at once, at most: 1365 images of CIFAR's size, 27 of ImageNet's."""


class Examples:
    """N examples that a model can be run on in parts."""

    def __init__(self, data: CalibrationData, *, loss: CalibrationLoss | None = None) -> None:
        # What the model runs on; the examples are axis 0 of every tensor (but those without axes).
        self.data = data
        # Output and targets to the mean loss of a batch; None: cross entropy.
        self._loss = loss
        self._take()

    def ask(self, step: int) -> None:
        """A decision of this step needs examples: the newest, where a function gives them."""
        self.data.ask(step)
        if self._batch != self.data.batch:
            self._take()

    def _take(self) -> None:
        inputs, targets, self._batch = self.data.inputs, self.data.targets, self.data.batch
        batched = [tensor for tensor in tensors_in(inputs) if tensor.ndim]
        if not batched or not len(batched[0]):
            raise ConfigError(
                "calibration_inputs must hold a tensor with the examples at axis 0, got none (attach)"
            )
        self.count = len(batched[0])
        for tensor in batched:
            if len(tensor) != self.count:
                raise ConfigError(
                    f"all tensors of calibration_inputs must have the same number of examples at axis 0, got "
                    f"{self.count} and {len(tensor)} (attach)"
                )
        if targets is not None and not isinstance(targets, Tensor):
            raise ConfigError(
                f"calibration_targets must be one tensor, got {type(targets).__name__} (attach)"
            )
        if targets is not None and (not targets.ndim or len(targets) != self.count):
            came = len(targets) if targets.ndim else "a single number"
            raise ConfigError(
                f"calibration_targets must be one for each of the {self.count} calibration_inputs, got {came} (attach)"
            )
        # Input numbers of one example.
        self.numbers = max(1, sum(each[0].numel() for each in batched))
        self._most = max(1, _NUMBERS // self.numbers)

    def parts(self, size: int) -> Iterator[tuple[int, int]]:
        """Start and stop of consecutive parts."""
        size = min(size, self._most)
        for start in range(0, self.count, size):
            yield start, min(start + size, self.count)

    def run(self, start: int, stop: int, *, copies: int = 1) -> Any:
        """Run the model on a part of the examples, repeated `copies` times along axis 0."""

        def part(each: Tensor) -> Tensor:
            return each[start:stop].repeat(copies, *(1,) * (each.ndim - 1)) if each.ndim else each

        return self.data.run(map_tensors(self.data.inputs, part))

    def loss(self, outputs: Any, start: int, stop: int) -> Tensor:
        """The mean loss of a part."""
        return self._loss_of(outputs, self._targets(start, stop, outputs))

    def losses(self, outputs: Any, start: int, stop: int, *, copies: int) -> Tensor:
        """The mean loss of each copy of a part."""
        rows = stop - start
        targets = self._targets(start, stop, outputs)
        if self._loss is None:  # cross entropy can be taken of all copies at once
            repeated = targets.repeat(copies, *(1,) * (targets.ndim - 1))
            each = nn.functional.cross_entropy(outputs, repeated, reduction="none")
            return each.reshape(copies, -1).mean(1).cpu().double()

        def of_copy(each: Tensor, number: int) -> Tensor:
            whole = each.ndim and len(each) == copies * rows
            return each[number * rows : (number + 1) * rows] if whole else each

        parts = [map_tensors(outputs, partial(of_copy, number=n)) for n in range(copies)]
        return torch.stack([self._loss_of(each, targets) for each in parts]).cpu().double()

    def correct(self, outputs: Any, start: int, stop: int, *, copies: int) -> Tensor:
        """The share of right answers in each copy of a part: the largest number of axis 1 is the target's."""
        targets = self._targets(start, stop, outputs)
        plain = isinstance(outputs, Tensor) and outputs.ndim > 1
        shape = (copies * len(targets), *targets.shape[1:])
        if not plain or targets.is_floating_point() or outputs[:, 0].shape != shape:
            came = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ConfigError(
                f"accuracy needs an output (N, classes, ...) and targets (N, ...) that are class numbers, got "
                f"{came} and {tuple(targets.shape)} of {targets.dtype}; the loss needs neither: "
                f"recipe.with_parts(criterion=regrow.criteria.Oracle(measure='loss')) (attach)"
            )
        right = outputs.argmax(1).unflatten(0, (copies, -1)) == targets
        return right.flatten(1).double().mean(1).cpu()

    def check(self, outputs: Any, stop: int, *, compared: bool) -> None:
        """Refuse an output that is not one for each example, and a loss that is not a mean."""
        given = [tensor for tensor in tensors_in(outputs) if tensor.is_floating_point()]
        if not given or any(not each.ndim or len(each) != stop for each in given):
            came = ", ".join(str(tuple(each.shape)) for each in given) or type(outputs).__name__
            raise ConfigError(
                f"the model must give a floating-point output with the examples at axis 0: for {stop} of the "
                f"calibration_inputs it gave {came} (attach)"
            )
        if not compared:
            return
        once = self.loss(outputs, 0, stop)
        if isinstance(outputs, Tensor):
            targets = self._targets(0, stop, outputs)
            twice = self._loss_of(torch.cat([outputs, outputs]), torch.cat([targets, targets]))
            if not torch.allclose(once, twice, rtol=0.01, atol=1e-6, equal_nan=True):
                raise ConfigError(
                    f"calibration_loss must give the mean over the batch (reduction='mean'): the same examples twice "
                    f"gave {twice.item():.4g}, once {once.item():.4g} (attach)"
                )

    def _targets(self, start: int, stop: int, outputs: Any) -> Tensor:
        """On the device of what they are compared with."""
        device = next((each.device for each in tensors_in(outputs)), self.data.device)
        return cast("Tensor", self.data.targets)[start:stop].to(device)

    def _loss_of(self, outputs: Any, targets: Tensor) -> Tensor:
        called = self._loss or nn.functional.cross_entropy
        try:
            value = called(outputs, targets)
        except Exception as error:
            name = (
                "calibration_loss" if self._loss else "cross entropy, the default calibration_loss,"
            )
            raise ConfigError(
                f"{name} must take the model's output and calibration_targets, and raised "
                f"{type(error).__name__}: {error} (attach)"
            ) from error
        value = cast("object", value)
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
            came = (
                f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            )
            raise ConfigError(
                f"calibration_loss must give one floating-point number, the mean over the batch, got {came} (attach)"
            )
        return value.reshape(())


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of containers with other tensors."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        changed: Any = copy.copy(value)
        for key, item in cast("Mapping[Any, Any]", value).items():
            changed[key] = map_tensors(item, change)
        return changed
    if isinstance(value, (list, tuple)):
        items = [map_tensors(item, change) for item in cast("list[Any]", value)]
        kind: Any = type(value)
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value,
            **{each.name: map_tensors(getattr(value, each.name), change) for each in fields(value)},
        )
    return value
