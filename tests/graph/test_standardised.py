"""Weights that are standardised filter by filter are followed; other computed weights are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from graph.nets import Forward
from graph.oracle import check_wiring
from regrow.graph import trace

Weight = Callable[[nn.Module], Tensor]

X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_batch_norm(net: nn.Module) -> Tensor:
    flat = net.b.weight.reshape(1, 5, -1)
    return F.batch_norm(flat, None, None, training=True).reshape_as(net.b.weight)


def by_batch_norm_with_a_gain(net: nn.Module) -> Tensor:
    flat, gain = net.b.weight.reshape(1, 5, -1), (net.gain.weight * 0.3).view(-1)
    return F.batch_norm(flat, None, None, weight=gain, training=True).reshape_as(net.b.weight)


def by_mean_and_deviation(net: nn.Module) -> Tensor:
    weight = net.b.weight
    mean = weight.mean((1, 2, 3), keepdim=True)
    return (weight - mean) / (weight.flatten(1).std(1).view(-1, 1, 1, 1) + 1e-5)


def by_var_mean(net: nn.Module) -> Tensor:
    var, mean = torch.var_mean(net.b.weight, dim=[1, 2, 3], keepdim=True)
    return net.gain.weight * (net.b.weight - mean) * torch.rsqrt(var + 1e-5)


def in_half(net: nn.Module) -> Tensor:
    return by_mean_and_deviation(net).to(torch.float32).double()


def network(weight: Weight) -> nn.Module:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(net.a(x))
        x = F.relu(F.conv2d(x, weight(net), net.b.bias))
        return net.head(x.flatten(1))

    layers = {"a": nn.Conv2d(3, 4, 3), "b": nn.Conv2d(4, 5, 3), "gain": nn.Conv2d(1, 5, 1)}
    return Forward(run, **layers, head=nn.Linear(20, 2)).double().eval()


@pytest.mark.parametrize(
    "weight",
    [by_batch_norm, by_batch_norm_with_a_gain, by_mean_and_deviation, by_var_mean, in_half],
)
def test_a_standardised_weight_is_followed(weight: Weight) -> None:
    net = network(weight)
    wiring = trace(net, X[:1])
    assert not any(layer.refused for layer in wiring.layers)
    (reader,) = wiring["a"].readers
    assert (reader.path, reader.weight, reader.channels) == (
        "b",
        "b.weight",
        ((0,), (1,), (2,), (3,)),
    )
    assert reader.standardised
    assert [each.standardised for each in wiring["b"].readers] == [False]
    assert (wiring["b"].count, wiring["b"].bias) == (5, "b.bias")
    only = type(wiring)(layers=(wiring["b"],))  # zeros in a standardised reader do not silence it
    assert check_wiring(net, X, only) == 3


def mixing_filters(net: nn.Module) -> Tensor:
    return by_mean_and_deviation(net) - net.b.weight.mean((0, 2, 3), keepdim=True)


def over_all_filters(net: nn.Module) -> Tensor:
    return net.b.weight / net.b.weight.std()


def over_inputs(net: nn.Module) -> Tensor:
    turned = net.b.weight.transpose(0, 1).reshape(1, 4, -1)
    normed = F.batch_norm(turned, None, None, training=True)
    return normed.reshape(4, 5, 3, 3).transpose(0, 1)


def flipped_and_added(net: nn.Module) -> Tensor:
    return by_mean_and_deviation(net) + by_mean_and_deviation(net).flip(1)


def written_into(net: nn.Module) -> Tensor:
    return by_mean_and_deviation(net).mul_(2)


def scaled(net: nn.Module) -> Tensor:
    return net.b.weight * 2


def written_copy(net: nn.Module) -> Tensor:
    return net.b.weight.detach().clone().abs_()


@pytest.mark.parametrize(
    "weight",
    [
        mixing_filters,
        over_all_filters,
        over_inputs,
        flipped_and_added,
        written_into,
        scaled,
        written_copy,
    ],
)
def test_other_computed_weights_are_refused(weight: Weight) -> None:
    wiring = trace(network(weight), X[:1])
    assert "its weight is computed" in wiring["a"].refused
    assert "b" not in wiring
    assert wiring["head"].is_head


def test_a_standardised_weight_that_is_used_otherwise_too_is_refused() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        weight = by_batch_norm(net)
        x = F.conv2d(net.a(x), weight)
        return net.head(x.flatten(1)) + weight.sum()

    layers = {"a": nn.Conv2d(3, 4, 3), "b": nn.Conv2d(4, 5, 3), "head": nn.Linear(20, 2)}
    wiring = trace(Forward(run, **layers).double(), X[:1])
    assert wiring["b"].refused == "sum in the model's own forward uses its weight too"
    assert wiring["a"].refused == ""


def test_a_weight_that_is_also_standardised_and_put_together_is_refused() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = net.a(x)
        twice = torch.cat([by_batch_norm(net), by_batch_norm(net)])
        return net.head(torch.cat([net.b(x), F.conv2d(x, twice)], 1).flatten(1))

    layers = {"a": nn.Conv2d(3, 4, 3), "b": nn.Conv2d(4, 5, 3), "head": nn.Linear(60, 2)}
    wiring = trace(Forward(run, **layers).double(), X[:1])
    assert wiring["b"].refused == "cat in the model's own forward uses its weight too"
    assert "its weight is computed by cat" in wiring["a"].refused
