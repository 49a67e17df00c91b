"""The zoo's judge finds what is wrong: wirings are altered, and it says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from crossed import seldom
from graph.nets import FOLLOWED, Forward, build, example
from regrow.graph import Filters, Wiring, trace
from zoo.judge import Findings, judge

BY_MODULES = sorted(set(FOLLOWED) - {"functional_call", "unfolded", "self_attention", "in_place"})


def judged(name: str, alter: Callable[[Filters], Filters] = lambda layer: layer) -> Findings:
    net, x = build(name).float(), example(name, count=1).float()
    wiring = trace(net, x)
    return judge(net, x, Wiring(layers=tuple(alter(layer) for layer in wiring.layers)))


@pytest.mark.parametrize("name", seldom(BY_MODULES, often=BY_MODULES[::3]))
def test_what_is_right_is_not_called_wrong(name: str) -> None:
    findings = judged(name)
    assert findings.wrong == []
    assert findings.judged + len(findings.skipped) >= 1


@pytest.mark.parametrize("name", ["resnet", "dense_concat", "squeeze_and_excite", "conv_bn_pool"])
def test_a_reader_that_is_missing_is_found(name: str) -> None:
    missed = judged(name, lambda layer: replace(layer, readers=layer.readers[1:])).missed
    assert any("is not among its readers" in each for each in missed)


def test_a_reader_that_is_named_and_reads_nothing_is_found() -> None:
    def with_the_head(layer: Filters) -> Filters:
        if layer.path != "0":
            return layer
        (reader,) = layer.readers
        head = replace(reader, path="7", channels=((0,),) * 4, alone=((True,),) * 4)
        return replace(layer, readers=(reader, head))

    (unseen,) = judged("crater", with_the_head).unseen
    assert unseen.endswith("-> 7: [0] are named and never change")


def test_a_wrong_channel_is_found_on_both_sides() -> None:
    def turned(layer: Filters) -> Filters:
        readers = tuple(
            replace(each, channels=each.channels[1:] + each.channels[:1]) for each in layer.readers
        )
        return replace(layer, readers=readers)

    findings = judged("conv_bn_pool", turned)
    assert any("change and are not named" in each for each in findings.missed)
    assert any("are named and never change" in each for each in findings.unseen)


def test_a_filter_that_is_elsewhere_is_found() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(3, 3, 2), nn.ReLU(), nn.Conv2d(3, 2, 1)).eval()
    x = torch.randn(1, 3, 6, 6)
    up, head = trace(net, x).layers
    assert judge(net, x, Wiring(layers=(up, head))).wrong == []
    turned = replace(
        up, kind="conv"
    )  # its filters lie along the kernel's second axis, not its first
    (misplaced,) = judge(net, x, Wiring(layers=(turned, head))).misplaced
    assert misplaced.endswith("its entries make channels [0, 1, 2]")


def test_a_layer_without_known_readers_that_reaches_the_output_is_found() -> None:
    findings = judged("resnet", lambda layer: replace(layer, is_head=False, readers=()))
    assert any("reaches the output past its readers" in each for each in findings.missed)


def test_a_gate_over_a_closed_channel_is_seen() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        gate = torch.sigmoid(net.gate(x.mean((2, 3), keepdim=True)))
        return net.head((F.relu(net.conv(x)) * gate).mean((2, 3)))

    net = Forward(
        run, conv=nn.Conv2d(3, 4, 3), gate=nn.Conv2d(3, 4, 1), head=nn.Linear(4, 2)
    ).eval()
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        net.conv.bias.fill_(-1000.0)
        assert not bool(F.relu(net.conv(x)).any()), "the gate changes nothing in this network"
    assert judge(net, x, trace(net, x)).wrong == []


def test_a_network_that_is_not_finite_is_no_witness() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2)).eval()
    with torch.no_grad():
        net[0].weight[0] = float("inf")
    x = torch.randn(1, 3, 6, 6)
    with pytest.raises(ValueError, match="must run on finite numbers, and 0 gives others"):
        judge(net, x, trace(net, x))
