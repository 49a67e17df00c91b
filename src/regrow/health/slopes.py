"""Where activations are flat: from which input on the slope is next to nothing, so that no gradient comes through.

Asked by `health/forward.py` of each activation that a pass calls. The ReLU family is none of it: it is flat at 0 in
ordinary work, and units that stay there are dead or rare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

TAILED: Final = frozenset(
    {
        *("gelu", "silu", "silu_", "hardswish", "hardswish_", "mish", "mish_", "softplus"),
        *("elu", "elu_", "selu", "selu_", "celu", "celu_"),
    }
)
"""Functions that are flat on one side. Those between two bounds are known by what they give."""

_REACH: Final = 40.0
"""How far from 0 slopes are looked at."""

_FINE: Final = 1e-3
"""And how closely."""


class FlatEnds:
    """Knows for each activation below and above which input it is flat."""

    def __init__(self, share: float) -> None:
        self._share = share  # up to this share of the steepest slope
        self._known: dict[tuple[object, ...], tuple[float, float] | None] = {}

    def marked(
        self, func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]
    ) -> Tensor | None:
        """Where the input of a call lies in a flat end, bool; None where that is not known. To be asked before it."""
        given = args[0] if args else named.get("input")
        others = {key: each for key, each in named.items() if key != "input"}
        if not isinstance(given, Tensor) or not given.is_floating_point():
            return None
        if any(isinstance(each, Tensor) for each in (*args[1:], *others.values())):
            return None
        key = (func, args[1:], *sorted(others.items()))
        if key not in self._known:
            self._known[key] = self._ends(lambda x: func(x, *args[1:], **others))
        ends = self._known[key]
        if ends is None:
            return None
        x, (low, high) = given.detach(), ends
        flat = x <= low
        return flat if high == math.inf else flat.logical_or_(x >= high)

    def _ends(self, function: Callable[[Tensor], Tensor]) -> tuple[float, float] | None:
        """From the slopes on a fine grid; None where neither side is flat."""
        count = round(2 * _REACH / _FINE) + 1
        grid = torch.linspace(-_REACH, _REACH, count, dtype=torch.float64, device="cpu")
        with torch.inference_mode(mode=False), torch.enable_grad():
            x = grid.clone().requires_grad_()
            # A copy: some work in place.
            slopes = torch.autograd.grad(function(x * 1.0).sum(), x)[0].abs()
        steep = (slopes > self._share * slopes.amax()).nonzero()[:, 0]
        if not len(steep):
            return None
        first, last = int(steep[0]), int(steep[-1])
        low = float(grid[first - 1]) if first else -math.inf
        high = float(grid[last + 1]) if last + 1 < count else math.inf
        return None if math.isinf(low) and math.isinf(high) else (low, high)
