"""What was read of a layer, turned into its `LayerHealth`: who is named by which measure, and the layer's numbers.

Called by `health/inspecting.py` at the end, once a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrow.activity.silence import silent
from regrow.criteria.filter_overlap import overlap_of_products
from regrow.criteria.relative_activity import relative_activity
from regrow.criteria.relative_gradient import relative_gradient
from regrow.draw import resolve_initialiser
from regrow.graph.filters import Filters
from regrow.graph.flows import Factor
from regrow.graph.slices import rows
from regrow.health.duplicates import largest_cosine
from regrow.health.gradients import next_step
from regrow.health.input_reading import InletReading
from regrow.health.isometry import deviation_of_products
from regrow.health.thresholds import Thresholds
from regrow.health.unit_reading import UnitReading
from regrow.weighing.information import weight_l1

_MIRRORED: Final = 512
"""From so many units on it pays to work half of their products out."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """Marks of units by measure, (O,) bool on the CPU, and numbers."""

    marks: Mapping[str, Tensor]
    numbers: Mapping[str, float]
    why_not: str = ""


def weight_values(
    layer: Filters, tensors: Mapping[str, Tensor], factors: Sequence[Factor], limits: Thresholds
) -> Values:
    """What weights alone show."""
    weight = tensors[layer.weight].detach()
    wide = rows(weight, layer).to(torch.promote_types(weight.dtype, torch.float32))
    empty = not bool(wide.any())
    zero = _behind_zero(layer, tensors, factors)
    marks = {"zero_by_construction": torch.ones_like(zero) if empty else zero}
    numbers = {"weight_ratio": float(wide.norm()) / fresh_norm(layer, weight)}
    if empty:  # what has not begun has no directions
        return Values(marks=marks, numbers=numbers)
    marks["invalid"] = (weight_l1(wide) < limits.invalid).cpu()
    if not bool(wide.isfinite().all()):
        # Where what the units give is judged, too, that says more.
        marks["not_finite"] = ~wide.isfinite().all(1).cpu()
        return Values(marks=marks, numbers=numbers)
    if layer.is_head or layer.count > limits.most_units:
        return Values(marks=marks, numbers=numbers)
    near, length = layer.count // layer.groups, wide.shape[-1]
    blocks = wide.unflatten(0, (layer.groups, near))
    # Once for all that asks for them: of a large layer they take longer than a forward pass.
    products = _products(blocks)
    if near > 1 and length >= limits.least_numbers:
        marks["duplicate"] = (largest_cosine(products).flatten() > limits.duplicate).cpu()
        numbers["overlap"] = float(overlap_of_products(products, layer.groups).mean())
    numbers["isometry"] = float(deviation_of_products(products, shorter=min(near, length)).mean())
    return Values(marks=marks, numbers=numbers)


def _products(blocks: Tensor) -> Tensor:
    """W W^T of each block, (G, n, F) to (G, n, n); of a large one half is worked out, the other half is its mirror."""
    count = blocks.shape[1]
    if count < _MIRRORED:
        return blocks @ blocks.mT
    found = blocks.new_empty(*blocks.shape[:2], count)
    width = -(-count // 8)
    for first in range(0, count, width):
        part, after = slice(first, first + width), slice(first + width, None)
        found[:, part, first:] = blocks[:, part] @ blocks[:, first:].mT
        found[:, after, part] = found[:, part, after].mT
    return found


def fresh_norm(layer: Filters, weight: Tensor) -> float:
    """The norm that the weight would have as torch's own layers draw it."""
    shaped = weight.detach().mT if layer.columns else weight.detach()
    bound = resolve_initialiser("torch_default", weight=shaped, where=layer.path).scale
    return bound * math.sqrt(weight.numel() / 3)


def _behind_zero(
    layer: Filters, tensors: Mapping[str, Tensor], factors: Sequence[Factor]
) -> Tensor:
    """Units with a norm scale or another factor of exactly 0 in front of their readers."""
    found = _nobody(layer.count)
    scales = [(norm.weight, norm.channels) for norm in layer.norms if norm.weight is not None]
    for name, units in (*scales, *((each.name, each.entries) for each in factors)):
        zero = (tensors[name].detach().flatten() == 0).tolist()
        found |= torch.tensor([any(zero[each] for each in own) for own in units], device="cpu")
    return found


def unit_values(
    layer: Filters,
    readings: Sequence[UnitReading],
    inlet: InletReading | None,
    *,
    tensors: Mapping[str, Tensor],
    weights: Values,
    limits: Thresholds,
) -> Values:
    """What forward passes show of a layer's units."""
    given = [each for each in readings if each.examples and not each.broken]
    covered = _nobody(layer.count)
    for each in given:
        covered |= each.covered.cpu()
    if not bool(covered.all()) or len(given) < len(readings):
        return Values(marks={}, numbers={}, why_not=_why_not(layer, readings))
    low = torch.stack([each.low for each in given]).amin(0)
    high = torch.stack([each.high for each in given]).amax(0)
    wrong = ~(low.isfinite() & high.isfinite()).cpu()
    constant = torch.ones_like(low, dtype=torch.bool)
    nothing = constant.clone()  # gives 0 throughout
    for each in given:
        largest = torch.maximum(each.low.abs(), each.high.abs()).where(each.covered, 0.0).amax()
        still = silent(each.low, each.high, largest=largest, values=each.values.long())
        # Who was certain to change is no constant because something larger came later.
        constant &= (still & (each.changes is None)) | ~each.covered
        nothing &= ((each.low == 0) & (each.high == 0)) | ~each.covered
    mute = constant.cpu() & ~wrong
    killed = mute & nothing.cpu() & _below_zero(layer, tensors)
    begins = weights.marks["zero_by_construction"]
    if not bool(tensors[layer.weight].any()):  # all of it begins as nothing, and nobody is to blame
        blocked, idle = torch.zeros_like(mute), mute
    else:
        blocked = idle = mute & begins & ~killed
    starved = mute & _hears_constants(layer, inlet) & ~killed & ~idle
    dead = mute & ~idle & ~starved
    size = torch.stack([each.size for each in given]).sum(0)
    mean = (size / torch.stack([each.values for each in given]).sum(0)).cpu()
    fired = torch.stack([each.fired / each.examples for each in given]).amax(0).cpu()
    rare = ~mute & ~wrong & (fired > 0) & (fired < limits.rare)
    small = relative_activity(mean.where(~wrong, torch.nan)) <= limits.dormant
    marks = {
        "dead": dead,
        "norm_killed": killed,
        "blocked": blocked,
        "starved": starved,
        "not_finite": wrong,
        "rare": rare,
        "dormant": small & ~mute & ~rare,
    }
    # A unit that an outlet does not cover is judged elsewhere.
    flat = [
        (each.flat / each.values).where(each.covered, 1.0)
        for each in given
        if each.flat is not None
    ]
    if flat:
        share = torch.stack(flat).amin(0).cpu()
        marks["saturated"] = ~mute & ~rare & (share > limits.saturated)
    products = given[0].products
    if products is None or products.found is None or bool(wrong.any()):
        return Values(marks=marks, numbers={})
    marks["alike"] = (products.found.largest > limits.duplicate) & ~mute
    return Values(marks=marks, numbers=products.found.numbers)


def _why_not(layer: Filters, readings: Sequence[UnitReading]) -> str:
    if layer.is_head:
        return "its units are the output"
    if not readings:
        return layer.refused or "where its units leave is not known"
    if any(each.broken for each in readings):
        return "what it gives came another way than the traced one"
    return "it did not run"


def _below_zero(layer: Filters, tensors: Mapping[str, Tensor]) -> Tensor:
    """Units whose norm shifts them below 0, by ten times what its scale lets them move."""
    found = _nobody(layer.count)
    for norm in layer.norms:
        if norm.weight is not None and norm.bias is not None:
            scale, shift = (tensors[each].detach().float() for each in (norm.weight, norm.bias))
            low = ((shift < 0) & (scale.abs() <= 0.1 * shift.abs())).tolist()
            found |= torch.tensor(
                [bool(own) and all(low[each] for each in own) for own in norm.channels],
                device="cpu",
            )
    return found


def _nobody(count: int) -> Tensor:
    """No unit of so many."""
    return torch.zeros(count, dtype=torch.bool, device="cpu")


def _hears_constants(layer: Filters, inlet: InletReading | None) -> Tensor:
    """Units that hear channels of their group alone, none of which changed."""
    if inlet is None or inlet.broken or inlet.changes or inlet.low is None or inlet.high is None:
        return _nobody(layer.count)
    largest = torch.maximum(inlet.low.abs(), inlet.high.abs()).amax()
    values = torch.full(inlet.low.shape, inlet.values, device=inlet.low.device)
    still = silent(inlet.low, inlet.high, largest=largest, values=values)
    by_group = still.reshape(layer.groups, -1).all(1)
    return by_group.repeat_interleave(layer.count // layer.groups).cpu()


def gradient_values(
    layer: Filters,
    weight: Tensor,
    grad: Tensor,
    optimizer: Optimizer | None,
    limits: Thresholds,
) -> Values:
    """What the gradient of the mean loss shows, and the step that an optimizer would make of it."""
    numbers = {"gradient": float(torch.linalg.vector_norm(grad))}
    way = None if optimizer is None else next_step(optimizer, weight, grad)
    if way is not None:
        length = float(torch.linalg.vector_norm(weight.detach().float()))
        numbers["step"] = way / max(length, fresh_norm(layer, weight))
    low = relative_gradient(rows(grad, layer)) <= limits.gradient
    return Values(marks={"low_gradient": low.cpu()}, numbers=numbers)
