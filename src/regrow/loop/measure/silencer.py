"""The oracle's measurement: the network without one filter, for many filters in one run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regrow.errors import ConfigError
from regrow.graph.calling import tensors_in
from regrow.loop.measure.examples import Examples
from regrow.loop.measure.gates import check_rows, no_sums
from regrow.loop.measure.places import Place, Tap, index_of, tapping

_ROWS = 1024
"""Examples times filters that are run at once, at most."""

_ROWS_LEAST = 32
_NUMBERS_AT_ONCE = 2**22
_NUMBERS_IN_CACHE = 2**20
_COPIES = 32
_IMAGES = 5
"""Axes of a batch of images, and one for the copies."""


class Silencer:
    """Runs a model with filters silenced: a copy of the examples for each filter, and zeros where it would be heard.

    The examples are copied as late as possible: at the first place where a filter is silenced, so that the layers in
    front of it run once for many filters. Where something passes by that place (a skip connection), the
    copies are made at the model's input. Which of the two a layer allows is found out by trying.
    """

    def __init__(
        self,
        # By layer, where zeros are the network without the filter.
        places: Mapping[str, Sequence[Place]],
        counts: Mapping[str, int],  # number of filters by layer
        examples: Examples,  # what the model runs on, in evaluation mode without gradients
        *,
        rows: int,  # number of examples to try with
    ) -> None:
        self._places = places
        self._counts = counts
        self._examples = examples
        self.late = {path for path in places if self._agree(path, rows)}

    def sums(self, *, accuracy: bool, only: Collection[str] | None = None) -> dict[str, Tensor]:
        """Sums over the examples, of the whole network and without each filter."""
        paths = [path for path in self._places if only is None or path in only]
        sums = no_sums(paths, self._counts, 5)
        limit = self._rows_at_once()
        for start, stop in self._examples.parts(max(1, limit // _COPIES)):
            rows = stop - start
            whole = self._judge(self._examples.run(start, stop), start, stop, accuracy=accuracy)
            size = max(1, limit // rows)
            for path, found in sums.items():
                for filters in torch.arange(self._counts[path], device="cpu").split(size):
                    outputs = self._without(path, filters.tolist(), start, stop)
                    copies = len(filters)
                    without = self._judge(outputs, start, stop, copies=copies, accuracy=accuracy)
                    both = torch.stack((whole.expand_as(without), without), 1).flatten(0, 1)
                    found[:4, filters] += both * rows
                found[4] += rows
        return sums

    def _rows_at_once(self) -> int:
        """On a CPU no more than its cache holds: half of a convolution's time goes by in waiting for memory."""
        on_cpu = self._examples.data.device.type == "cpu"
        numbers = _NUMBERS_IN_CACHE if on_cpu else _NUMBERS_AT_ONCE
        return max(_ROWS_LEAST, min(_ROWS, numbers // self._examples.numbers))

    def _without(
        self, path: str, filters: Sequence[int], start: int, stop: int, *, late: bool | None = None
    ) -> Any:
        """What the model gives without each of some filters, one copy of the examples after the other."""
        late = path in self.late if late is None else late
        copies = len(filters)
        with tapping({path: self._places[path]}, _silencer(filters, stop - start)):
            outputs = self._examples.run(start, stop, copies=1 if late else copies)
        for given in tensors_in(outputs):
            if given.is_floating_point():
                check_rows(given, (copies * (stop - start),))
        return outputs

    def _agree(self, path: str, rows: int) -> bool:
        """Whether copies made late give what copies made at the input give."""
        filters = [0, self._counts[path] - 1]
        early = self._without(path, filters, 0, rows, late=False)
        try:
            late = self._without(path, filters, 0, rows, late=True)
        except ConfigError:
            return False
        pairs = zip(tensors_in(early), tensors_in(late), strict=True)
        return all(
            one.shape == other.shape
            and torch.allclose(one.double(), other.double(), rtol=1e-3, atol=1e-5, equal_nan=True)
            for one, other in pairs
        )

    def _judge(
        self, outputs: Any, start: int, stop: int, *, accuracy: bool, copies: int = 1
    ) -> Tensor:
        """Loss and share of right answers of each copy: (2, copies)."""
        loss = self._examples.losses(outputs, start, stop, copies=copies)
        right = torch.zeros_like(loss)
        if accuracy:
            right = self._examples.correct(outputs, start, stop, copies=copies)
        return torch.stack((loss, right))


def _silencer(filters: Sequence[int], rows: int) -> Callable[[Tensor, Sequence[Tap]], Tensor]:
    copies = len(filters)

    def silence(x: Tensor, taps: Sequence[Tap]) -> Tensor:
        check_rows(x, (rows, copies * rows))
        x = x.expand(copies, *x.shape) if x.shape[0] == rows else x.unflatten(0, (copies, rows))
        # Images with their channels last: twice as fast on a CPU.
        kept = torch.channels_last if x.ndim == _IMAGES else torch.contiguous_format
        shape = (copies * rows, *x.shape[2:])
        flat = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=kept)
        x = flat.unflatten(0, (copies, rows)).copy_(x)
        for _, place in taps:
            for copy, index in enumerate(filters):
                channels = [
                    channel
                    for each, channel in zip(place.filters, place.channels, strict=True)
                    if each == index
                ]
                if channels:
                    x[copy].index_fill_(place.axis, index_of(channels, x.device), 0.0)
        return flat

    return silence
