"""How long a step can be at most, where that is known before it is made: then a guard copies nothing for it.

`Guarding` asks `StepBounds` ahead of each step, and tells it when the step was made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from regrow.guard.step_parameters import lengths_of

_EPS: Final = 1e-10
"""With less of it in Adam's denominator, squares too small for float32 would count."""

_Groups = Sequence[dict[str, Any]]


@final
class StepBounds:
    """Bounds of the coming steps of one optimizer: of plain descent by what it adds up, of Adam by what it divides by.

    What the optimizer keeps is looked at once. From then on each bound follows from the last one, as long as nobody but
    the optimizer writes there: torch counts writes. Nothing is known of an optimizer that is none of `torch.optim.SGD`,
    `Adam` and `AdamW` themselves.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        ways: dict[type, tuple[str, Callable[..., list[float] | None]]] = {
            SGD: ("momentum_buffer", self._descents),
            Adam: ("exp_avg", self._adams),
            AdamW: ("exp_avg", self._adams),
        }
        self._key, self._way = ways.get(type(optimizer), ("", None))
        # By parameter: what was kept for it, how often that had been written, and what is known of it.
        self._known: dict[Tensor, tuple[Tensor, int, Any]] = {}
        self._coming: dict[Tensor, Any] = {}
        self._followed = False

    def longest(
        self, parameters: Sequence[Tensor], lengths: Sequence[float], *, anew: bool = False
    ) -> list[float] | None:
        """The largest length that the step of each parameter can have, by the lengths of their gradients, on the CPU.

        None where nothing (or nothing more) is known, in half precision, whose rounding moves weights too, and where a
        scaler may keep a fused optimizer from stepping. `anew` looks once more at what the optimizer keeps, for bounds
        that follow from others grow.
        """
        if (
            self._way is None
            or (anew and not self._followed)
            or getattr(self._optimizer, "found_inf", None) is not None
            or any(each.dtype not in {torch.float32, torch.float64} for each in parameters)
        ):
            return None
        group_of = {
            each: group for group in self._optimizer.param_groups for each in group["params"]
        }
        groups = [group_of[each] for each in parameters]
        if any(isinstance(group["lr"], Tensor) for group in groups):
            return None
        if anew:
            self._known.clear()
        self._coming.clear()
        return self._way(groups, parameters, lengths)

    def stepped(self) -> None:
        """The step was made: what was bounded before it is what is kept now."""
        for parameter, value in self._coming.items():
            # `get`, for to look at an optimizer's state makes an entry there, which would be saved.
            kept = self._optimizer.state.get(parameter, {}).get(self._key)
            if isinstance(kept, Tensor):
                self._known[parameter] = kept, kept._version, value
        self._coming.clear()

    def _kept(self, parameter: Tensor) -> tuple[Tensor | None, Any]:
        """What the optimizer keeps for a parameter, and what is known of it; None: nothing is."""
        kept = self._optimizer.state.get(parameter, {}).get(self._key)
        tensor, writes, value = self._known.get(parameter, (None, 0, None))
        untouched = kept is not None and kept is tensor and kept._version == writes
        return kept, value if untouched else None

    def _descents(
        self, groups: _Groups, parameters: Sequence[Tensor], lengths: Sequence[float]
    ) -> list[float]:
        """The triangle inequality, b being what the optimizer keeps.

        d  <=  norm(g) + decay * norm(w),     b  <=  momentum * norm(b before) + d
        step  <=  rate * b,     with Nesterov  rate * (d + momentum * b)
        """
        weights = _lengths(parameters, [bool(group["weight_decay"]) for group in groups])
        kept = [self._kept(each) for each in parameters]
        looked = _lengths(
            [buffer for buffer, _ in kept],
            [buffer is not None and known is None for buffer, known in kept],
        )
        self._followed = any(known is not None for _, known in kept)
        found: list[float] = []
        for group, parameter, grad, weight, (_, known), seen in zip(
            groups, parameters, lengths, weights, kept, looked, strict=True
        ):
            momentum, rate = abs(float(group["momentum"])), abs(float(group["lr"]))
            slope = grad + abs(float(group["weight_decay"])) * weight
            before = seen if known is None else known
            coming = momentum * before + slope * max(1.0, abs(1.0 - float(group["dampening"])))
            self._coming[parameter] = coming
            found.append(rate * (slope + momentum * coming if group["nesterov"] else coming))
        return found

    def _adams(
        self, groups: _Groups, parameters: Sequence[Tensor], lengths: Sequence[float]
    ) -> list[float] | None:
        """Cauchy and Schwarz over the gradients so far: however they came, no entry of a step is longer.

        m^2  <=  A_t^2 * v,     A_t^2 = (1 - b1)^2 / (1 - b2) * (1 - r^t) / (1 - r),     r = b1^2 / b2
        step  <=  rate * (A_t * sqrt(1 - b2^t) / (1 - b1^t) * sqrt(n) + decay * norm(w))
        """
        del lengths
        decays = [
            bool(group.get("decoupled_weight_decay", True) and group["weight_decay"])
            for group in groups
        ]
        ratios = [
            self._adam_ratio(group, parameter)
            for group, parameter in zip(groups, parameters, strict=True)
        ]
        if any(math.isinf(ratio) for ratio in ratios):
            return None
        weights = _lengths(parameters, decays)
        return [
            abs(float(group["lr"]))
            * (ratio * math.sqrt(parameter.numel()) + abs(float(group["weight_decay"])) * weight)
            for group, parameter, ratio, weight in zip(
                groups, parameters, ratios, weights, strict=True
            )
        ]

    def _adam_ratio(self, group: dict[str, Any], parameter: Tensor) -> float:
        """What no entry of Adam's step is larger than, in units of the rate; infinity: it is not known."""
        betas: tuple[float, float] = tuple(group["betas"])
        first, second = betas
        if (
            isinstance(first, Tensor)
            or isinstance(second, Tensor)
            or group["eps"] < _EPS
            or not 0 < first * first < second < 1
        ):
            return math.inf
        state = self._optimizer.state.get(parameter, {})
        count = float(state["step"]) if "step" in state else 0.0
        mean, made_with = self._kept(parameter)
        if mean is None:
            made_with = betas
        elif made_with is None:  # never seen, or written by somebody else
            square = state.get("exp_avg_sq", torch.zeros_like(mean))
            sound = _is_bounded(mean, square, most=_adam_most(betas, count))
            made_with = betas if sound else ()
        elif made_with != betas:
            made_with = ()  # a schedule moves them: what was made with others is not bounded by these
        self._coming[parameter] = made_with
        if not made_with:
            return math.inf
        count += 1
        corrected = math.sqrt(1 - second**count) / (1 - first**count)
        # An entry that was renewed counts for itself, and the first step of all has a ratio of 1.
        return max(1.0, _adam_most(betas, count) * corrected)


def _adam_most(betas: tuple[float, float], count: float) -> float:
    """What Adam's mean is at most in units of the root of its mean square, after so many gradients."""
    first, second = betas
    shrinks = first * first / second
    return (1 - first) * math.sqrt((1 - shrinks**count) / ((1 - second) * (1 - shrinks)))


def _is_bounded(mean: Tensor, square: Tensor, *, most: float) -> bool:
    """Whether the bound holds for what is kept. If it does, it holds after each further step."""
    if mean.is_complex():
        return False
    return bool((mean.double().square() <= 1.001 * most * most * square.double() + 1e-38).all())


def _lengths(tensors: Sequence[Any], wanted: Sequence[bool]) -> list[float]:
    """Of the wanted ones; 0 for the others."""
    chosen = [each for each, is_wanted in zip(tensors, wanted, strict=True) if is_wanted]
    found = iter(lengths_of(chosen).tolist() if chosen else [])
    return [next(found) if is_wanted else 0.0 for is_wanted in wanted]
