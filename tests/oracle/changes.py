"""What a renewal may change: what nobody but the renewed filters uses.

The entries that a real recipe has changed are changed again, at will, in a network whose products give what they gave.
An entry is the filter's own if that moves nothing but

* what the filter itself would give, or
* what a product is given in channels in which, whatever anybody else gives, only the filter is heard.

And as far as an entry multiplies something, it is only such channels: with zeros in their place it moves nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from oracle.networks import Network
from oracle.pinned import Change, Stage
from oracle.products import Spot, places
from oracle.readers import at, disturbing, written_by

_DRAWS = ((3.0, 0.0), (50.0, 80.0), (50.0, -80.0))
World = tuple[Callable[[nn.Module], None] | None, frozenset[str]]
"""What else changes, and the weights of gates, which are not counted among the others."""

_Places = list[set[tuple[int, ...]]]
"""Of every product's input, then of every normalisation's."""


@dataclass(frozen=True)
class Changed:
    """What a recipe did.

    Attributes:
        what: In words.
        spots: The filters that were renewed.
        masks: By name of a parameter or buffer, the entries that are not what they were.
        out: The filters are out of the network, and will come back.
    """

    what: str
    spots: frozenset[Spot]
    masks: Mapping[str, Tensor]
    out: bool


def tensors_of(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by their first names."""
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def judge_changes(stage: Stage, changed: Changed, network: Network) -> list[str]:
    """Judge what a recipe has changed.

    Args:
        stage: The network before.
        changed: What was done to a copy of it.
        network: What is known of it.

    Returns:
        What is wrong.
    """
    wrong: list[str] = []
    for name, parameter in stage.net.named_parameters():
        if name in changed.masks and not parameter.requires_grad:
            wrong.append(f"{changed.what}: {name} is frozen and was changed")
    # What a gate says of a channel that gives 0 does not matter.
    world = network.elsewhere, frozenset(network.gates) if changed.out else frozenset()
    found = _seen_by_others(stage, changed, changed.spots, world)
    if found and changed.out:  # who hears nobody but what is out is out with it
        spots = _with_bound(stage, changed.spots, world)
        found = _seen_by_others(stage, changed, spots, world) if spots != changed.spots else found
    return wrong + [f"{changed.what}: {each}" for each in found]


def _seen_by_others(
    stage: Stage, changed: Changed, spots: frozenset[Spot], world: World
) -> list[str]:
    """What somebody else sees of what was changed, in words: all tensors together, and one by one if there is any."""
    own, leaks = _own(stage, spots, world)
    mute = _muting(stage, own)
    before = stage.replay(mute=mute, actual=True)

    def moved(names: Collection[str]) -> list[str]:
        found: set[str] = set()
        for seed in (1, 2):
            with ExitStack() as stack:
                for name in names:
                    stack.enter_context(_instead(stage.net, name, changed.masks[name], seed))
                after = stage.replay(mute=mute, actual=True)
            found |= _moved(stage, spots, own, before, after)
        return sorted(found)

    wrong = ["it is part of the output"] if leaks else []
    if moved(changed.masks):
        wrong += [f"{name} {each}" for name in changed.masks for each in moved([name])[:2]]
    return wrong


def _own(stage: Stage, spots: frozenset[Spot], world: World) -> tuple[_Places, bool]:
    """The channels in which some filters are heard and nobody else, and whether the filters are in the output."""
    known = stage.memo.get((spots, world))
    if known is None:
        base = stage.memo.get("base") or stage.memo.setdefault("base", stage.replay())
        heard, leaks = _heard(stage, spots, base)
        others = _heard_of_others(stage, spots, base, world)
        own = [mine - theirs for mine, theirs in zip(heard, others, strict=True)]
        known = stage.memo[spots, world] = (own, leaks)
    return known


def judge_silence(
    stage: Stage, model: nn.Module, changed: Changed, terms: Mapping[str, str]
) -> list[str]:
    """What is out gives 0, whatever it is given.

    Args:
        stage: Of the network before.
        model: With the filters out.
        changed: What was done.
        terms: By weight, the module whose output is what a layer's filters add to a sum.

    Returns:
        What is wrong.
    """
    kept: dict[str, Tensor] = {}
    handles = [
        model.get_submodule(path).register_forward_hook(
            lambda _, args, out, path=path: kept.update({path: out.detach().clone()})
        )
        for path in terms.values()
    ]
    net, stage.net = stage.net, model
    try:
        seen = stage.replay(actual=True)
    finally:
        stage.net = net
        for handle in handles:
            handle.remove()
    wrong = [
        f"{changed.what}: it does not give 0"
        for product, out in zip(stage.products, seen.actual, strict=True)
        for place in written_by(product, changed.spots)
        if bool(at(out, product.out_axes, place).any())
    ]
    wrong += [
        f"{changed.what}: '{path}' makes something of its 0, and adds it"
        for weight, path in terms.items()
        for spot in changed.spots
        if spot.tensor == weight and bool(kept[path][:, spot.index].any())
    ]
    return wrong


def _with_bound(stage: Stage, spots: frozenset[Spot], world: World) -> frozenset[Spot]:
    """And the filters that hear nobody else, as behind a depthwise layer: a network without the first has no others."""
    while True:
        own, _ = _own(stage, spots, world)
        before = stage.replay(actual=True)
        deaf = {
            spot: True
            for product in stage.products
            for lines in product.writes.values()
            for spot in lines
        }
        generator = torch.Generator().manual_seed(7)

        def others_only(
            number: int, x: Tensor, own: _Places = own, generator: torch.Generator = generator
        ) -> Tensor:
            other = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            for place in own[number]:
                at(other, stage.products[number].axes, place).copy_(
                    at(x, stage.products[number].axes, place)
                )
            return other

        after = stage.replay(mute=others_only, actual=True)
        for number, product in enumerate(stage.products):
            for place in places(after.actual[number] != before.actual[number], product.out_axes):
                deaf.update(dict.fromkeys(product.writes[place], False))
        more = spots | {spot for spot, is_deaf in deaf.items() if is_deaf}
        if more == spots:
            return spots
        spots = frozenset(more)


def _heard(stage: Stage, spots: frozenset[Spot], base: object) -> tuple[_Places, bool]:
    """The channels of each product's input in which some filters are heard, and whether the output has them."""
    found: _Places = [set() for _ in (*stage.products, *stage.norms)]
    leaks = False
    for number, (width, shift) in enumerate(_DRAWS):
        seen = stage.replay(change=disturbing(stage, spots, width, shift, number))
        _add_places(stage, found, seen, base)
        leaks = leaks or any(
            not torch.equal(a, b) for a, b in zip(seen.outputs, base.outputs, strict=True)
        )
    return found, leaks


def _heard_of_others(stage: Stage, spots: frozenset[Spot], base: object, world: World) -> _Places:
    """The channels in which anybody else is heard: other filters, the inputs, tables of numbers."""
    elsewhere, gates = world
    kept = spots | {
        spot
        for product in stage.products
        for lines in product.writes.values()
        for spot in lines
        if spot.tensor in gates
    }
    found: _Places = [set() for _ in (*stage.products, *stage.norms)]
    for number, (width, shift) in enumerate(_DRAWS):
        generator = torch.Generator().manual_seed(100 + number)
        seen = stage.replay(
            change=_all_but(stage, kept, width, shift, generator),
            args=tuple(_other_input(each, generator) for each in stage.args),
        )
        _add_places(stage, found, seen, base)
    elsewhere = elsewhere or (lambda net: None)
    weights = {
        spot.tensor
        for product in stage.products
        for lines in product.writes.values()
        for spot in lines
    }
    net, stage.net = stage.net, copy.deepcopy(stage.net)
    try:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(99)
            for name, tensor in tensors_of(stage.net).items():
                table = sum(size > 1 for size in tensor.shape) > 1 and name not in weights
                if table and tensor.is_floating_point():
                    noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
                    tensor.add_(noise)
        elsewhere(stage.net)
        seen = stage.replay()
    finally:
        stage.net = net
    _add_places(stage, found, seen, base)
    return found


def _add_places(stage: Stage, found: _Places, seen: object, base: object) -> None:
    axes = [*(product.axes for product in stage.products), *(axes for axes, _ in stage.norms)]
    now, then = (*seen.inputs, *seen.normed), (*base.inputs, *base.normed)
    for into, along, after, before in zip(found, axes, now, then, strict=True):
        into.update(places(after != before, along))


def _all_but(
    stage: Stage, spots: frozenset[Spot], width: float, shift: float, generator: torch.Generator
) -> Change:
    def change(number: int, gave: Tensor) -> Tensor:
        product = stage.products[number]
        other = (
            gave + torch.randn(gave.shape, generator=generator, dtype=gave.dtype) * width + shift
        )
        for place in written_by(product, spots):
            at(other, product.out_axes, place).copy_(at(gave, product.out_axes, place))
        return other

    return change


def _other_input(value: object, generator: torch.Generator) -> object:
    if isinstance(value, (list, tuple)):
        return type(value)(_other_input(each, generator) for each in value)
    if isinstance(value, dict):
        return {key: _other_input(each, generator) for key, each in value.items()}
    if not isinstance(value, Tensor):
        return value
    if value.is_floating_point():
        return torch.randn(value.shape, generator=generator, dtype=value.dtype)
    return value.flatten()[torch.randperm(value.numel(), generator=generator)].reshape(value.shape)


def _muting(stage: Stage, own: _Places) -> Change:
    """Zeros in the channels in which only the filters are heard."""

    def mute(number: int, x: Tensor) -> Tensor:
        muted = x.clone()
        for place in own[number]:
            at(muted, stage.products[number].axes, place).zero_()
        return muted

    return mute


class _instead:  # noqa: N801 # used as a with statement
    """Other numbers in some entries of one tensor, for a while."""

    def __init__(self, net: nn.Module, name: str, mask: Tensor, seed: int) -> None:
        self._tensor, self._kept = tensors_of(net)[name], tensors_of(net)[name].detach().clone()
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(mask.shape, generator=generator, dtype=torch.float64) + 0.5
        self._other = torch.where(mask, self._kept + noise.to(self._kept.dtype), self._kept)

    def __enter__(self) -> None:
        with torch.no_grad():
            self._tensor.copy_(self._other)

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            self._tensor.copy_(self._kept)


def _moved(
    stage: Stage, spots: frozenset[Spot], own: _Places, before: object, after: object
) -> set[str]:
    """What somebody else sees of a change, in words."""
    found: set[str] = set()
    for number, product in enumerate(stage.products):
        given = places(after.inputs[number] != before.inputs[number], product.axes)
        for place in given:
            if place not in own[number]:
                lines = sorted(product.reads[place])
                found.add(
                    f"moves what {lines[0].tensor} reads in channel {lines[0].index}, which others are heard in"
                )
        made = ~torch.isclose(after.actual[number], before.actual[number], rtol=1e-9, atol=1e-12)
        for place in places(made, product.out_axes):
            if product.writes[place].isdisjoint(spots):
                lines = sorted(product.writes[place])
                found.add(f"works for {lines[0].tensor}[{lines[0].index}] too")
    first = len(stage.products)
    for number, (axes, _) in enumerate(stage.norms):
        made = after.actual_normed[number] != before.actual_normed[number]
        if not own[first + number].issuperset(places(made, axes)):
            found.add("works in a normalisation where others are heard")
    if any(not torch.equal(a, b) for a, b in zip(after.outputs, before.outputs, strict=True)):
        found.add("moves the output")
    return found
