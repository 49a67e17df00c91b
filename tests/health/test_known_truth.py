"""Every sickness that was made by hand is found in its place, and nothing else is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from health.sick import Cnn, Lora, Mlp, Tied, Vit, images, named

X, Y = images()
Hurt = Callable[[Any], None]


def _inspected(model: nn.Module, **named: Any) -> regrow.Health:
    return regrow.inspect(model, X, targets=Y, **named)


@pytest.mark.parametrize(
    "make",
    [Cnn, lambda: Mlp(nn.GELU()), lambda: Mlp(nn.Tanh()), Vit, Tied],
    ids=["cnn", "gelu", "tanh", "vit", "tied"],
)
def test_nothing_is_found_in_a_healthy_network(make: Callable[[], nn.Module]) -> None:
    health = _inspected(make())
    assert named(health) == set()
    assert [each.key for each in health.advice] == ["nothing"]
    assert not [layer.path for layer in health.layers if layer.why_not and not layer.is_head]


def _kill(net: Any) -> None:
    net.two.bias[4] = -100.0


def _kill_dense(net: Any) -> None:
    net.dense.bias[2] = -100.0


def _duplicate(net: Any) -> None:
    net.two.weight[7] = 1.5 * net.two.weight[3]
    net.two.bias[7] = 1.5 * net.two.bias[3]


def _prune(net: Any) -> None:
    net.one.weight[5] = 0.0


def _norm_kill(net: Any) -> None:
    net.norm.weight[6], net.norm.bias[6] = 1e-4, -0.5


def _blow_up(net: Any) -> None:
    net.dense.weight *= 1000.0
    net.dense.bias *= 1000.0


def _fade(net: Any) -> None:
    net.dense.weight *= 0.02
    net.dense.bias *= 0.02


def _rare(net: Any) -> None:
    """So that the unit fires on two of the 400 images alone."""
    seen: list[Any] = []
    handle = net.dense.register_forward_hook(lambda *told: seen.append(told[2]))
    net.eval()(X)
    handle.remove()
    third = seen[0][:, 1].sort(descending=True).values[1:3]
    net.dense.bias[1] -= float(third.mean())


@pytest.mark.parametrize(
    ("hurt", "found"),
    [
        (_kill, {("dead", "two"): (4,)}),
        (_kill_dense, {("dead", "dense"): (2,)}),
        (_duplicate, {("duplicate", "two"): (3, 7)}),
        (_prune, {("dead", "one"): (5,), ("invalid", "one"): (5,)}),
        (_norm_kill, {("dead", "one"): (6,), ("norm_killed", "one"): (6,)}),
        (_rare, {("rare", "dense"): (1,)}),
    ],
)
def test_units_that_were_hurt_are_named(
    hurt: Hurt, found: dict[tuple[str, str], tuple[int, ...]]
) -> None:
    net = Cnn()
    with torch.no_grad():
        hurt(net)
    health = _inspected(net)
    assert named(health) == set(found)
    for (measure, layer), units in found.items():
        assert health[layer].units[measure] == units


def test_a_norm_scale_of_zero_blocks_and_starves_who_hears_it() -> None:
    net = Cnn()
    with torch.no_grad():
        net.norm.weight.zero_()
        net.norm.bias.zero_()
    health = _inspected(net)
    every = tuple(range(8))
    assert health["one"].units["zero_by_construction"] == health["one"].units["blocked"] == every
    assert health["one"].units["dead"] == ()
    assert health["two"].units["starved"] == tuple(range(12))
    assert health["two"].units["dead"] == ()


@pytest.mark.parametrize(("hurt", "word"), [(_blow_up, "blown_up"), (_fade, "fading")])
def test_a_layer_whose_gain_is_far_off(hurt: Hurt, word: str) -> None:
    net = Cnn()
    with torch.no_grad():
        hurt(net)
    health = _inspected(net)
    assert named(health) == {("gain", "dense")}
    assert [each.key for each in health.advice] == [word]


def test_tanh_units_at_their_bounds() -> None:
    net = Mlp(nn.Tanh())
    with torch.no_grad():
        net.one.weight[4] *= 1e4
    health = _inspected(net)
    assert health["one"].units["saturated"] == (4,)
    assert {measure for measure, _ in named(health)} <= {"saturated", "gain"}


def test_what_is_not_a_number() -> None:
    net = Mlp(nn.GELU())
    with torch.no_grad():
        net.two.weight[3, 0] = torch.nan
    health = regrow.inspect(net, X)
    assert health["two"].units["not_finite"] == (3,)
    assert "blown_up" in [each.key for each in health.advice]


def test_an_adapter_that_begins_at_zero_is_not_dead() -> None:
    health = _inspected(Lora())
    assert named(health) == {("zero_by_construction", "up")}
    assert health["up"].units["dead"] == ()
    assert [each.key for each in health.advice] == ["begins_at_zero"]


def test_a_dead_unit_of_a_transformer() -> None:
    net = Vit()
    with torch.no_grad():
        net.block.up.weight[9], net.block.up.bias[9] = 0.0, -50.0
    health = _inspected(net)
    assert named(health) == {("dead", "block.up"), ("invalid", "block.up")}
    assert health["block.up"].units["dead"] == (9,)


def test_inputs_with_a_mean() -> None:
    health = regrow.inspect(Cnn(), X + 5)
    assert ("input_shift", "") in named(health)
    assert health.input_shift == pytest.approx(5, rel=0.1)
    assert "standardise" in [each.key for each in health.advice]


def test_a_rate_at_the_edge() -> None:
    net = Cnn()
    for rate, found in ((1e-4, set[str]()), (1.0, {"one", "two", "dense", "head"})):
        optimizer = torch.optim.Adam(net.parameters(), lr=rate)
        health = _inspected(net, optimizer=optimizer)
        assert {each.layer for each in health.symptoms if each.measure == "step"} == found


def test_units_killed_by_their_norm_that_leave_in_two_halves() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(7)
            self.one, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
            self.left, self.right = nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3)
            self.head = nn.Linear(12, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            left, right = self.norm(self.one(x)).relu().chunk(2, 1)
            both = torch.cat((self.left(left).relu(), self.right(right).relu()), 1)
            return self.head(both.mean((2, 3)))

    net = Halves()
    with torch.no_grad():
        for unit in (1, 6):
            net.norm.weight[unit], net.norm.bias[unit] = 1e-4, -0.5
    units = _inspected(net)["one"].units
    assert units["dead"] == units["norm_killed"] == (1, 6)


def test_a_layer_of_next_to_nothing_is_dead_and_not_about_to_begin() -> None:
    """Squares of such weights are 0 in float32."""
    net = Mlp(nn.ReLU())
    with torch.no_grad():
        net.two.weight *= 1e-30
        net.two.bias.fill_(-1.0)
    assert regrow.inspect(net, X)["two"].units["dead"] == tuple(range(16))


def test_a_head_that_is_not_a_number() -> None:
    """Nothing else is: what a layer gives is finite in front of it."""
    net = Mlp(nn.GELU())
    with torch.no_grad():
        net.head.weight[3, 0] = torch.inf
    health = regrow.inspect(net, X)
    assert named(health) == {("not_finite", "head")}
    assert health["head"].units["not_finite"] == (3,)
