"""Every sickness in every kind of layer: found, and nothing else named. GPT-2 is in `tests/trainers`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import regrow
from crossed import seldom
from health.hurts import ALL, HURTS, UNIT, check, hurt
from health.sick import Cnn, Lora, Mlp, Normed, Tied, Vit, images

X, Y = images()
GAINS = ("blown up", "faded")

LAYERS: dict[str, tuple[Callable[[], nn.Module], str, str | None]] = {
    "first of an MLP": (lambda: Mlp(nn.GELU()), "one", "two"),
    "last of an MLP": (lambda: Mlp(nn.GELU()), "two", None),
    "convolution": (Cnn, "two", "dense"),
    "dense behind a convolution": (Cnn, "dense", None),
    "MLP of a ViT": (Vit, "block.up", "block.down"),
    "called twice": (Tied, "again", None),
    "in front of one that is called twice": (Tied, "into", None),
}
"""A network, one of its layers, and who alone reads it, where that is no output layer and judged."""

FLAT = "where GELU is flat"
RELUS = {"convolution", "dense behind a convolution"}

SETTLED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "MLP of a ViT": (Vit, "block.up"),
    "called twice": (Tied, "again"),
    "in front of one that is called twice": (Tied, "into"),
    "in front of a norm": (Normed, "one"),
    "multiplied by a gate": (Normed, "value"),
}
"""What they give is added, multiplied or goes into a norm: their size is not their own affair."""

ROWS = [
    (layer, how)
    for layer in LAYERS
    for how in HURTS
    # The dense layer's biases were set for what it hears: of a convolution that gives more, other units would die.
    if not (how in GAINS and layer in {*SETTLED, "convolution"})
    and not (how == FLAT and layer in RELUS)
    # Whoever is called twice and hears one value gives one value at one of its calls, and is dead at both: see below.
    and not (HURTS[how].starves and layer == "in front of one that is called twice")
]


@pytest.mark.parametrize(
    "row",
    seldom(ROWS, often=[("first of an MLP", "repeated"), ("MLP of a ViT", "all killed")]),
    ids=" ".join,
)
def test_it_is_found_and_nothing_else_is_named(row: tuple[str, str]) -> None:
    layer, how = row
    make, path, reader = LAYERS[layer]
    net = make()
    hurt(net, path, HURTS[how])
    check(regrow.inspect(net, X, targets=Y), path, HURTS[how], reader)


@pytest.mark.parametrize("layer", seldom(sorted(SETTLED), often=["in front of a norm"]))
@pytest.mark.parametrize("how", GAINS)
def test_a_layer_out_of_size_whose_size_is_not_its_own_affair(layer: str, how: str) -> None:
    """Named by its weight beside a fresh one, and by nothing else."""
    make, path = SETTLED[layer]
    net = make()
    hurt(net, path, HURTS[how])
    health = regrow.inspect(net, X, targets=Y)
    assert health[path].settled
    assert {(each.measure, each.layer) for each in health.symptoms} == {("weight_ratio", path)}
    told = next(each.text for each in health.symptoms)
    assert told.startswith("blown up" if how == "blown up" else "faded")


@pytest.mark.parametrize("factor", [1 / 8, 8.0])
@pytest.mark.parametrize("layer", seldom(sorted(SETTLED), often=["multiplied by a gate"]))
def test_a_layer_a_little_out_of_size_is_not_named(layer: str, factor: float) -> None:
    make, path = SETTLED[layer]
    net = make()
    with torch.no_grad():
        net.get_submodule(path).weight.mul_(factor)
    assert regrow.inspect(net, X, targets=Y).symptoms == ()


def test_a_branch_that_begins_near_zero_is_a_wish_and_one_in_front_of_a_norm_is_none() -> None:
    net = Normed()
    with torch.no_grad():
        net.value.weight.mul_(3e-4)
        net.value.bias.fill_(1.0)
    found = {(each.measure, each.layer) for each in regrow.inspect(net, X, targets=Y).symptoms}
    assert ("weight_ratio", "value") not in found
    net = Normed()
    with torch.no_grad():
        net.one.weight.mul_(3e-4)
    found = {(each.measure, each.layer) for each in regrow.inspect(net, X, targets=Y).symptoms}
    assert ("weight_ratio", "one") in found


@pytest.mark.parametrize("how", ["erased", "killed", "repeated", "all killed"])
def test_a_layer_that_is_hurt_beside_an_adapter_that_begins_at_zero(how: str) -> None:
    """What is added to it is nothing yet: its units are judged behind the sum."""
    net = Lora()
    hurt(net, "base", HURTS[how])
    health = regrow.inspect(net, X, targets=Y)
    found = {(each.measure, each.layer) for each in health.symptoms}
    named = {(measure, "base") for measure in HURTS[how].named}
    assert found == {*named, ("zero_by_construction", "up")}
    for measure, units in HURTS[how].named.items():
        assert health["base"].units[measure] == (tuple(range(12)) if units == ALL else units)


def test_a_unit_whose_adapter_keeps_it_alive_is_not_dead() -> None:
    net = Lora()
    hurt(net, "base", HURTS["killed"])
    with torch.no_grad():  # what the adapter learns lifts the unit over what kills it
        net.up.weight.normal_(generator=torch.Generator().manual_seed(0))
        net.up.weight[UNIT] = 200.0
    assert "dead" not in {each.measure for each in regrow.inspect(net, X).symptoms}


def test_an_adapter_that_has_learnt_is_named_by_nothing() -> None:
    net = Lora()
    with torch.no_grad():
        net.up.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    assert regrow.inspect(net, X, targets=Y).symptoms == ()


@pytest.mark.parametrize("part", [0, 16, 32], ids=["query", "key", "value"])
def test_a_unit_of_packed_attention(part: int) -> None:
    net = Vit()
    with torch.no_grad():
        net.block.qkv.weight[part + UNIT], net.block.qkv.bias[part + UNIT] = 0.0, -50.0
    health = regrow.inspect(net, X, targets=Y)
    assert {(each.measure, each.layer) for each in health.symptoms} == {
        ("dead", "block.qkv"),
        ("invalid", "block.qkv"),
    }
    assert health["block.qkv"].units["dead"] == (part + UNIT,)
