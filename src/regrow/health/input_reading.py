"""What layers hear, and what they make of it: sums over all passes.

Filled by `health/forward` while batches pass; read by `health/layer_values` at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the base of all convolutions

from regrow.activity.silence import TOLERANCE
from regrow.graph.filters import Filters
from regrow.graph.plain import is_layer
from regrow.health.pass_values import PassValues, by_example, exact

_EXAMPLES: Final = 2
"""So many of a batch, to twice as many, are enough for a gain where each of them has many numbers."""

_NUMBERS: Final = 2**14
"""And so many numbers."""


class InletReading:
    """Which of the channels that one layer hears have changed."""

    def __init__(self, axis: int, *, groups: int) -> None:
        self.broken = False  # some of it was not what was traced
        self.changes = False  # it is certain that a channel has changed, and nothing more is read
        self._axis = axis  # of the channels, from the end
        # Of the layer: a unit of one of several hears a part of the channels.
        self._groups = groups
        self.low: Tensor | None = None
        self.high: Tensor | None = None
        self.values = 0

    def take(self, x: Tensor, values: PassValues) -> None:
        """Take one call in."""
        if self.changes:
            return
        if not (x.numel() and -x.ndim <= self._axis < x.ndim and x.is_floating_point()):
            self.broken = self.broken or bool(x.numel())
            return
        ends = values.ends(x.detach(), (x.ndim + self._axis,))
        low, high = ends.low.amin(0), ends.high.amax(0)
        if self.low is not None and self.high is not None:
            if low.shape != self.low.shape:
                self.broken = True
                return
            low, high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        self.low, self.high = low, high
        self.values += len(ends.low) * ends.positions
        if self._groups == 1:
            # Twice what it takes to be no constant is for good. Values that come later may make the largest one larger;
            # more than twice as large, they are themselves a change.
            largest = torch.maximum(low.abs(), high.abs()).amax()
            self.changes = bool((high - low > 2 * TOLERANCE * largest).any())


class GainReading:
    """rms(out without the bias) / rms(in) of layers that are modules, by hooks that belong to torch and not to them."""

    def __init__(self, model: nn.Module, layers: Iterable[Filters]) -> None:
        self._paths: dict[nn.Module, str] = {}
        for layer in layers:
            owner, _, attribute = layer.weight.rpartition(".")
            module = model.get_submodule(owner)
            if attribute == "weight" and is_layer(module):
                self._paths[module] = layer.path
        # By layer the squares that it heard, how many they are, and the same of what it gave.
        self._sums: dict[str, list[float]] = {}

    def take(
        self, module: nn.Module, args: tuple[object, ...], named: dict[str, object], out: object
    ) -> None:
        """A module has run."""
        path = self._paths.get(module)
        heard = args[0] if args else named.get("input")
        if path is None or not (isinstance(heard, Tensor) and isinstance(out, Tensor)):
            return
        # The same examples of both: what one of them hears may be much larger than what another one does.
        wanted = max(_wanted(heard), _wanted(out))
        heard, given = _some(heard, wanted), _without_bias(module, _some(out, wanted))
        new = (_square(heard), heard.numel(), _square(given), given.numel())
        sums = self._sums.get(path, (0.0, 0, 0.0, 0))
        self._sums[path] = [one + other for one, other in zip(sums, new, strict=True)]

    def gain(self, path: str) -> float | None:
        """None where the layer did not run as a module, hears nothing or gives nothing."""
        heard, many_heard, given, many_given = self._sums.get(path, (0.0, 0.0, 0.0, 0.0))
        if heard == 0 or given == 0:
            return None
        ratio = (given / many_given) / (heard / many_heard)
        return math.sqrt(ratio) if ratio >= 0 else math.nan


class BatchReading:
    """Means and spreads of the numbers that the model is called with, channel by channel."""

    def __init__(self) -> None:
        self._sums: dict[int, Tensor] = {}

    def take(self, given: list[Tensor]) -> None:
        """Take one batch in; whole numbers are no measurements."""
        for place, x in enumerate(given):
            if not (x.is_floating_point() and x.ndim > 1 and x.numel()):
                continue
            kind = exact(x.device)
            wide = by_example(x.detach(), (1,)).movedim(1, 0).flatten(1).to(kind)
            sums = torch.stack(
                (wide.sum(1), wide.square().sum(1), torch.full_like(wide[:, 0], wide.shape[1]))
            )
            before = self._sums.get(place)
            if before is None or before.shape == sums.shape:
                self._sums[place] = sums if before is None else before + sums

    def shift(self) -> float | None:
        """|mean| / |spread| over the channels, of the input that is out by most; None without such an input."""
        found: list[float] = []
        for sums in self._sums.values():
            mean = sums[0] / sums[2]
            variance = (sums[1] / sums[2] - mean.square()).clamp(min=0)
            spread = float(variance.sum().sqrt())
            size = float(torch.linalg.vector_norm(mean))
            if spread > 1e-6 * size:
                found.append(size / spread)
        return max(found, default=None)


def _wanted(x: Tensor) -> int:
    """How many examples are enough for a ratio of means."""
    return max(_EXAMPLES, -(-_NUMBERS * len(x) // max(x.numel(), 1))) if x.ndim else 1


def _some(x: Tensor, wanted: int) -> Tensor:
    """So many of the examples, to twice as many, evenly spaced."""
    return x[:: max(1, len(x) // wanted)] if x.ndim > 1 else x


def _without_bias(module: nn.Module, out: Tensor) -> Tensor:
    """A large bias is no gain: it says the same to every example."""
    bias = module._parameters.get("bias")  # pyright: ignore[reportPrivateUsage]
    if bias is None:
        return out.detach()
    # Behind the channels of a convolution are its positions.
    spatial = (1,) * (module.weight.ndim - 2) if isinstance(module, _ConvNd) else ()
    return out.detach() - bias.detach().reshape(-1, *spatial)


def _square(x: Tensor) -> float:
    """Example by example: of every second one together torch would make a copy first."""
    norms = [torch.linalg.vector_norm(each.detach().float()) for each in (x if x.ndim > 1 else [x])]
    return float(torch.stack(norms).to(exact(x.device)).square().sum()) if norms else 0.0
