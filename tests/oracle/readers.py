"""Who reads a filter: all others give what they gave, it gives something else, and one looks who is given that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor

from oracle.pinned import Change, Seen, Stage
from oracle.products import Product, Spot, places
from regrow.graph import Filters, Wiring

DRAWS = ((1.0, 0.0), (5.0, 8.0), (5.0, -8.0), (300.0, 500.0), (300.0, -500.0))
"""Width and shift of disturbances: through a closed ReLU, a maximum, a saturated gate one of them gets."""

WORLDS = 4
"""What everybody else gives: as it is, then drawn."""


def spot_of(layer: Filters, unit: int) -> Spot:
    """Where a layer's filter lies in its weight."""
    return Spot(layer.weight, 1 if layer.inputs_first else 0, unit)


def named(layer: Filters, unit: int) -> set[Spot]:
    """What the wiring says of who reads a filter."""
    return {
        Spot(reader.weight, 0 if reader.inputs_first else 1, channel)
        for reader in layer.readers
        for channel in reader.channels[unit]
    }


def drawn(world: int) -> Change | None:
    """What stands in for the outputs of all products in one of the worlds; None: nothing does."""
    if world == 0:
        return None
    generator = torch.Generator().manual_seed(world)

    def draw(out: Tensor) -> Tensor:
        noise = torch.randn(out.shape, generator=generator, dtype=out.dtype)
        return noise.abs() + 0.1 if world == 1 else noise

    return lambda _, out: draw(out)


def disturbing(
    stage: Stage, spots: Collection[Spot], width: float, shift: float, seed: int = 0
) -> Change:
    """Let some filters give something else, at every place of its own amount."""
    generator = torch.Generator().manual_seed(seed)

    def change(number: int, gave: Tensor) -> Tensor:
        product = stage.products[number]
        for place in written_by(product, spots):
            line = at(gave, product.out_axes, place)
            line.add_(
                torch.randn(line.shape, generator=generator, dtype=line.dtype) * width + shift
            )
        return gave

    return change


def written_by(product: Product, spots: Collection[Spot]) -> list[tuple[int, ...]]:
    """Where in a product's output some filters are."""
    return [place for place, lines in product.writes.items() if not lines.isdisjoint(spots)]


def at(tensor: Tensor, axes: Iterable[int], place: Iterable[int]) -> Tensor:
    """A view of a tensor at one place along some axes."""
    index: list[int | slice] = [slice(None)] * tensor.ndim
    for axis, where in zip(axes, place, strict=True):
        index[axis] = where
    return tensor[tuple(index)]


def judge_readers(
    stages: Sequence[Stage], wiring: Wiring, *, per_layer: int = 3
) -> tuple[int, list[str]]:
    """Judge every layer that was followed, by some of its filters.

    Args:
        stages: The network, in evaluation mode, say, and in training mode: what is named is read in one of them.
        wiring: What is judged.
        per_layer: How many filters of a layer, spread over it.

    Returns:
        How many filters were judged, and what is wrong.
    """
    cases = [
        _Case(layer, unit)
        for layer in wiring.layers
        if not (layer.is_head or layer.refused)
        for unit in spread(layer.count, per_layer)
    ]
    for world in range(WORLDS):
        left = [case for case in cases if world < 2 or not case.right <= case.read]
        for stage in stages if left else ():
            draw = drawn(world)
            stage.record(None if draw is None else lambda out, draw=draw: draw(0, out))
            base = stage.replay()
            for case in left:
                _disturb(stage, case, base, at_least=1 if world else 3)
    return len(cases), [each for case in cases for each in case.wrong()]


class _Case:
    """A filter on trial: what the wiring says of its readers, and who has read it so far."""

    def __init__(self, layer: Filters, unit: int) -> None:
        self.words = f"{layer.path}[{unit}]"
        self.spot = spot_of(layer, unit)
        self.right = named(layer, unit)
        self.read: set[Spot] = set()
        self.leaks = False

    def wrong(self) -> list[str]:
        found = [f"{self.words} reaches the output past its readers"] * self.leaks
        for verb, spots in (
            ("is read and not named", self.read - self.right),
            ("is named and never read", self.right - self.read),
        ):
            some = sorted(spots)[:4]
            found += [f"{self.words} {verb}: {each.tensor}, channel {each.index}" for each in some]
        return found


def _disturb(stage: Stage, case: _Case, base: Seen, *, at_least: int) -> None:
    for number, (width, shift) in enumerate(DRAWS):
        if number >= at_least and case.right <= case.read:
            break
        seen = stage.replay(change=disturbing(stage, {case.spot}, width, shift, number))
        for product, now, then in zip(stage.products, seen.inputs, base.inputs, strict=True):
            for place in places(now != then, product.axes):
                case.read |= product.reads[place]
        both = zip(seen.outputs, base.outputs, strict=True)
        case.leaks = case.leaks or any(not torch.equal(now, then) for now, then in both)


def spread(count: int, wanted: int) -> list[int]:
    """Some of `count` filters, the first and the last among them."""
    return sorted(
        {round(step * (count - 1) / max(1, wanted - 1)) for step in range(min(count, wanted))}
    )
