"""A graft written from papers.md section 3 as plain loops over Python floats, and the public code's way of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch

Values = dict[str, list[float]]
"""A network: all numbers of each tensor in a row."""

Table = Mapping[str, Sequence[str]]
"""For each tensor, the weights of the layers whose filters it belongs to."""


def values(state: Mapping[str, torch.Tensor]) -> Values:
    """A state dict as plain numbers."""
    return {name: tensor.double().reshape(-1).tolist() for name, tensor in state.items()}


def entropy(weights: Sequence[float], *, bins: int = 10, drop_maximum: bool = False) -> float:
    """-sum p ln p over bins of equal width between the smallest and the largest weight."""
    low, high = min(weights), max(weights)
    if low == high:
        return 0.0
    counts = [0] * bins
    for weight in weights:
        place = math.floor((weight - low) / ((high - low) / bins))
        if not (drop_maximum and weight >= low + (high - low) / bins * bins):
            counts[min(place, bins - 1)] += 1
    return -sum(n / len(weights) * math.log(n / len(weights)) for n in counts if n)


def filter_entropy(weights: Sequence[float], *, filters: int) -> float:
    """One histogram a filter; filters lie one after the other."""
    length = len(weights) // filters
    return sum(entropy(weights[f * length : (f + 1) * length]) for f in range(filters))


def alpha(own: float, partner: float, *, amplitude: float = 0.4, sharpness: float = 500.0) -> float:
    """A / pi arctan(c (H - H')) + 0.5."""
    return amplitude / math.pi * math.atan(sharpness * (own - partner)) + 0.5


def mix(own: Sequence[float], partner: Sequence[float], share: float) -> list[float]:
    """Share of one, the rest of the other."""
    return [share * a + (1 - share) * b for a, b in zip(own, partner, strict=True)]


def ring(
    networks: Sequence[Values],
    table: Table,
    *,
    measure: Callable[[str, Sequence[float]], float] = lambda name, weights: entropy(weights),
    amplitude: float = 0.4,
    sharpness: float = 500.0,
) -> list[Values]:
    """Every network takes from the one before it, all from the weights as they were.

    A tensor that several layers own takes the mean of their shares; one that is in no line of the table is copied.
    """
    found: list[Values] = []
    for k, own in enumerate(networks):
        partner = networks[k - 1]
        share = {
            name: alpha(
                measure(name, own[name]),
                measure(name, partner[name]),
                amplitude=amplitude,
                sharpness=sharpness,
            )
            for owners in table.values()
            for name in owners
        }
        found.append({})
        for name in own:
            owners = table.get(name, ())
            if not owners:
                found[-1][name] = list(partner[name])
                continue
            mean = sum(share[each] for each in owners) / len(owners)
            found[-1][name] = mix(own[name], partner[name], mean)
    return found


def public_entropy(weights: torch.Tensor, *, bins: int = 10) -> float:
    """The public code's: bins that are open above, counted one after the other."""
    flat = weights.reshape(-1)
    low, high = flat.min(), flat.max()
    width = (high - low) / bins
    total = 0.0
    for index in range(bins):
        inside = (flat >= low + index * width) & (flat < low + (index + 1) * width)
        share = float(inside.sum()) / flat.numel()
        if share:
            total -= share * math.log(share)
    return total


def public_graft(
    networks: Sequence[Mapping[str, torch.Tensor]],
    *,
    amplitude: float = 0.4,
    sharpness: float = 500.0,
    decimals: int | None = 2,
) -> list[dict[str, torch.Tensor]]:
    """The public code's carried share: worked out at names with 'conv', used for all that follows.

    What differs by intent: integer buffers are copied.
    """
    found: list[dict[str, torch.Tensor]] = []
    for k, own in enumerate(networks):
        partner, share = networks[k - 1], 0.0
        found.append({})
        for name, tensor in own.items():
            if "conv" in name and tensor.is_floating_point():
                ahead = public_entropy(tensor) - public_entropy(partner[name])
                share = amplitude / math.pi * math.atan(sharpness * ahead) + 0.5
                share = share if decimals is None else round(share, decimals)
            if tensor.is_floating_point():
                found[-1][name] = tensor * share + partner[name] * (1 - share)
            else:
                found[-1][name] = partner[name].clone()
    return found
