"""The oracle finds what is wrong: wirings are altered, and entries of others are changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import regrow
from oracle.changes import Changed, judge_changes, judge_silence, tensors_of
from oracle.collection import NETWORKS
from oracle.networks import Net, Network
from oracle.pinned import Stage
from oracle.products import Entries, Spot
from oracle.readers import judge_readers
from regrow.graph import Filters, Wiring


def residual() -> nn.Module:
    """A residual block with a norm in it and one behind the sum."""

    def run(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        x = net.behind(x + net.two(torch.relu(net.norm(net.one(x)))))
        return net.head(torch.relu(x).mean((2, 3)))

    return Net(
        run,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        one=nn.Conv2d(4, 5, 3, padding=1),
        norm=nn.BatchNorm2d(5),
        two=nn.Conv2d(5, 4, 3, padding=1),
        behind=nn.BatchNorm2d(4),
        head=nn.Linear(4, 2),
    )


RESIDUAL = Network(residual, "a residual block")


def readers_of(network: Network, alter: Callable[[Filters], Filters] = lambda layer: layer) -> str:
    net = network.build()
    wiring = regrow.trace(net, network.example())
    stage = Stage(net, network.examples(), network.outputs)
    altered = Wiring(layers=tuple(alter(layer) for layer in wiring.layers))
    return "\n".join(judge_readers([stage], altered)[1])


def changes_of(name: str, *entries: int | slice, unit: int = 1, layer: str = "one.weight") -> str:
    """What is said where some entries of a tensor are changed, and the filter `unit` of a layer was renewed."""
    net = RESIDUAL.build()
    stage = Stage(net, RESIDUAL.examples())
    stage.record()
    mask = torch.zeros_like(tensors_of(net)[name], dtype=torch.bool)
    mask[entries] = True
    changed = Changed("a renewal", frozenset({Spot(layer, 0, unit)}), {name: mask}, out=False)
    return "\n".join(judge_changes(stage, changed, RESIDUAL))


def test_what_is_right_is_not_called_wrong() -> None:
    assert readers_of(RESIDUAL) == ""


def test_a_reader_that_is_missing_is_found() -> None:
    said = readers_of(
        RESIDUAL,
        lambda layer: replace(layer, readers=layer.readers[1:]) if layer.path == "stem" else layer,
    )
    assert "stem[0] is read and not named" in said


def test_a_reader_that_reads_nothing_is_found() -> None:
    def more(layer: Filters) -> Filters:
        if layer.path != "one":
            return layer
        (reader,) = layer.readers
        head = replace(
            reader,
            path="head",
            kind="linear",
            weight="head.weight",
            channels=((2,),) * 5,
            alone=((True,),) * 5,
        )
        return replace(layer, readers=(reader, head))

    assert "one[4] is named and never read: head.weight, channel 2" in readers_of(RESIDUAL, more)


def test_a_wrong_channel_is_found_on_both_sides() -> None:
    def turned(layer: Filters) -> Filters:
        readers = tuple(
            replace(each, channels=each.channels[1:] + each.channels[:1]) for each in layer.readers
        )
        return replace(layer, readers=readers)

    said = readers_of(RESIDUAL, turned)
    assert "one[0] is read and not named: two.weight, channel 0" in said
    assert "one[0] is named and never read: two.weight, channel 1" in said


def test_a_head_that_is_called_a_layer_is_found() -> None:
    said = readers_of(RESIDUAL, lambda layer: replace(layer, is_head=False))
    assert "head[0] reaches the output past its readers" in said


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("one.weight", (1,)),
        ("one.bias", (1,)),
        ("norm.weight", (1,)),
        ("norm.bias", (1,)),
        ("norm.running_mean", (1,)),
        ("norm.running_var", (1,)),
        ("two.weight", (slice(None), 1)),
    ],
)
def test_a_filter_may_have_its_own_entries_changed(
    name: str, entries: tuple[int | slice, ...]
) -> None:
    assert changes_of(name, *entries) == ""


@pytest.mark.parametrize(
    ("name", "entries", "words"),
    [
        ("one.weight", (2,), "works for one.weight[2] too"),
        ("one.bias", (2,), "works for one.weight[2] too"),
        ("norm.bias", (2,), "works in a normalisation where others are heard"),
        ("two.weight", (slice(None), 2), "works for two.weight[0] too"),
        ("two.weight", (0,), "works for two.weight[0] too"),
        ("two.bias", (0,), "works for two.weight[0] too"),
        ("stem.weight", (0,), "works for stem.weight[0] too"),
        ("head.bias", (0,), "works for head.weight[0] too"),
    ],
)
def test_an_entry_of_somebody_else_is_found(
    name: str, entries: tuple[int | slice, ...], words: str
) -> None:
    assert words in changes_of(name, *entries)


@pytest.mark.parametrize(
    "name", ["behind.weight", "behind.bias", "behind.running_mean", "head.weight"]
)
def test_what_a_sum_shares_is_found(name: str) -> None:
    entries = (slice(None), 1) if name == "head.weight" else (1,)
    assert changes_of(name, *entries, layer="two.weight") != ""
    assert changes_of(name, *entries, layer="stem.weight") != ""


def test_a_filter_of_the_output_and_a_frozen_entry_are_found() -> None:
    assert "it is part of the output" in changes_of("head.weight", 1, layer="head.weight")
    net = RESIDUAL.build()
    net.one.bias.requires_grad_(False)
    stage = Stage(net, RESIDUAL.examples())
    stage.record()
    masks = {"one.bias": torch.arange(5) == 1}
    changed = Changed("a renewal", frozenset({Spot("one.weight", 0, 1)}), masks, out=False)
    assert judge_changes(stage, changed, RESIDUAL) == [
        "a renewal: one.bias is frozen and was changed"
    ]


def test_what_is_out_and_gives_something_is_found() -> None:
    net, out = RESIDUAL.build(), RESIDUAL.build()
    stage = Stage(net, RESIDUAL.examples())
    stage.record()
    changed = Changed("a drop", frozenset({Spot("one.weight", 0, 1)}), {}, out=True)
    with torch.no_grad():
        out.one.weight[1] = 0.0
    assert judge_silence(stage, out, changed, {}) == ["a drop: it does not give 0"]
    with torch.no_grad():
        out.one.bias[1] = 0.0
    assert judge_silence(stage, out, changed, {}) == []
    assert judge_silence(stage, out, changed, {"one.weight": "norm"}) == [
        "a drop: 'norm' makes something of its 0, and adds it"
    ]


def test_numbers_say_whose_they_are() -> None:
    net = RESIDUAL.build()
    entries = Entries(net)
    turned = net.one.weight.detach()[2:4].transpose(0, 1).contiguous()
    owner, first, second = entries.lines(turned)
    assert entries.name(int(owner.unique())) == "one.weight"
    assert first[0, :, 0, 0].tolist() == [2, 3]
    assert second[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert entries.lines(turned * 2.0) is None


def test_networks_are_many_and_as_different_as_their_names() -> None:
    assert len(NETWORKS) > 60
    assert len({network.words for network in NETWORKS.values()}) == len(NETWORKS)
