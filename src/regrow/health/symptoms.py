"""Symptoms: what of a health report is worth a look, each with what it was taken from. None of them is a verdict.

Called by `health/health` with the layers' numbers; `health/advice` goes on from what is named here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from regrow.health.layer_health import LayerHealth
from regrow.health.measures import BY_KEY, INPUT_SHIFT, PROBE_GAP, Measure
from regrow.health.thresholds import Thresholds

_ANY: Final = (
    *("not_finite", "norm_killed", "dead", "blocked", "starved", "rare", "saturated", "duplicate"),
    *("invalid", "zero_by_construction"),
)
"""One unit is enough."""

_MANY: Final = ("dormant", "low_gradient")
"""A few are in every network."""


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """One thing that is worth a look.

    Attributes:
        measure: Its key in `regrow.health.MEASURES`.
        layer: Module path; "" for the whole network.
        text: How many units, or which number.
        formula: What that means.
        evidence: What it was taken from.
        count: Units that have it; 0 where it is a number of the layer.
    """

    measure: str
    layer: str
    text: str
    formula: str
    evidence: str
    count: int = 0

    def __str__(self) -> str:
        """One line."""
        where = self.layer or "network"
        return f"{where}: {self.text} [symptom; {self.evidence}; {self.formula}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self).copy()


def symptoms_of(
    layers: Iterable[LayerHealth],
    limits: Thresholds,
    *,
    input_shift: float | None,
    probe_gap: float | None,
) -> Iterator[Symptom]:
    """All of them, the network's first, and then layer by layer."""
    if input_shift is not None and input_shift > limits.shift:
        yield _symptom(INPUT_SHIFT, "", f"the inputs' mean is {input_shift:.3g} times their spread")
    if probe_gap is not None and probe_gap > limits.probe:
        told = f"learns a new task worse than a fresh network, by {probe_gap:.3g} of loss"
        yield _symptom(PROBE_GAP, "", told)
    for layer in layers:
        for key in _ANY:
            if layer.units.get(key):
                yield _units(key, layer)
        for key in _MANY:
            if (layer.share(key) or 0) >= limits.share:
                yield _units(key, layer)
        # Units whose weights differ may agree on few examples: most of a layer that does so is another matter.
        if (layer.share("alike") or 0) > 0.5:
            yield _units("alike", layer)
        yield from _of_gain(layer, limits)
        step = layer.numbers.get("step")
        if step is not None and not step <= limits.step:
            told = f"the next step is {step:.3g} of the weight's length"
            yield _symptom(BY_KEY["step"], layer.path, told)


def _of_gain(layer: LayerHealth, limits: Thresholds) -> Iterator[Symptom]:
    gain = layer.numbers.get("gain")
    if gain is None:
        return
    if layer.settled:
        yield from _of_settled(layer, gain, limits)
    elif math.isnan(gain) or gain > limits.gain_high:
        told = f"blown up, gives {gain:.3g} times what it hears"
        yield _symptom(BY_KEY["gain"], layer.path, told)
    elif gain < limits.gain_low:
        told = f"fades, gives {gain:.3g} times what it hears"
        yield _symptom(BY_KEY["gain"], layer.path, told)


def _of_settled(layer: LayerHealth, gain: float, limits: Thresholds) -> Iterator[Symptom]:
    """What follows makes up for a gain: only one whose weight is no initialiser's any more, either, is told."""
    length = layer.numbers.get("weight_ratio")
    if layer.is_head or length is None:
        return
    wished = length < limits.weight_none and not layer.normed
    if gain > limits.gain_high and length > limits.weight_high:
        word = "blown up"
    elif gain < limits.gain_low and length < limits.weight_low and not wished:
        word = "faded"
    else:
        return
    told = f"{word}, {length:.3g} times as long as a fresh weight, gives {gain:.3g} times what it hears"
    yield _symptom(BY_KEY["weight_ratio"], layer.path, told)


def _units(key: str, layer: LayerHealth) -> Symptom:
    measure, count = BY_KEY[key], len(layer.units[key])
    told = f"{count} of {layer.count} units {measure.title}"
    return _symptom(measure, layer.path, told, count=count)


def _symptom(measure: Measure, layer: str, text: str, *, count: int = 0) -> Symptom:
    return Symptom(
        measure=measure.key,
        layer=layer,
        text=text,
        formula=measure.formula,
        evidence=measure.evidence,
        count=count,
    )
