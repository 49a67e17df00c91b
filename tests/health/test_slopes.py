"""Units whose activation is flat on what they give it, by the slope that autograd finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from health.hurts import UNIT
from health.sick import Mlp, images, named
from regrow.health.pass_values import PassValues
from regrow.health.slopes import FlatEnds

X, Y = images()

ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "GELU": (nn.GELU, -4.0),
    "GELU of tanh": (lambda: nn.GELU("tanh"), -4.0),
    "SiLU": (nn.SiLU, -9.0),
    "SiLU in place": (lambda: nn.SiLU(inplace=True), -9.0),
    "Mish": (nn.Mish, -9.0),
    "ELU": (nn.ELU, -6.0),
    "ELU in place": (lambda: nn.ELU(inplace=True), -6.0),
    "ELU of another size": (lambda: nn.ELU(0.5), -5.5),
    "SELU": (nn.SELU, -6.5),
    "CELU": (lambda: nn.CELU(2.0), -12.0),
    "Softplus": (nn.Softplus, -6.0),
    "Softplus, steeper": (lambda: nn.Softplus(beta=2.0), -4.0),
    "tanh": (nn.Tanh, 4.0),
    "sigmoid": (nn.Sigmoid, -6.0),
}
"""Each with a bias that takes a unit to where it is flat."""


@pytest.mark.parametrize("key", ACTIVATIONS)
def test_a_unit_where_its_activation_is_flat(key: str) -> None:
    make, bias = ACTIVATIONS[key]
    net = Mlp(make())
    healthy = named(regrow.inspect(net, X, targets=Y))
    with torch.no_grad():
        net.one.weight[UNIT] *= 0.5
        net.one.bias[UNIT] = bias
    health = regrow.inspect(net, X, targets=Y)
    assert health["one"].units["saturated"] == (UNIT,)
    assert named(health) - healthy == {("saturated", "one")}


@pytest.mark.parametrize("key", ["GELU", "SiLU in place", "ELU of another size", "CELU"])
def test_where_it_is_flat_is_what_autograd_says(key: str) -> None:
    function = ACTIVATIONS[key][0]()
    x = torch.linspace(-15, 15, 3001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(function(x * 1.0).sum(), x)
    small = slopes.abs() <= 0.01 * slopes.abs().max()
    marks: list[Tensor] = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            found = FlatEnds(0.01).marked(func, args, kwargs or {})
            assert found is not None
            marks.append(found)
            return func(*args, **(kwargs or {}))

    z = x.detach().clone()
    with Watch():
        function(z)
    (flat,) = marks
    # A place where the slope passes through 0 (GELU's at -0.75) is no flat end.
    runs = small & ((x.detach() < -2) | (x.detach() > 2))
    assert torch.equal(flat, runs)


@pytest.mark.parametrize("settings", [nn.ReLU(), nn.LeakyReLU(), nn.Identity()])
def test_what_is_not_flat_by_itself_saturates_nobody(settings: nn.Module) -> None:
    net = Mlp(settings)
    assert "saturated" not in regrow.inspect(net, X)["one"].units


def test_a_hard_swish_that_seldom_fires_is_rare_and_not_named_twice() -> None:
    net = Mlp(nn.Hardswish())
    with torch.no_grad():
        sums = net.one(X.flatten(1))[:, UNIT].sort(descending=True).values
        net.one.bias[UNIT] -= 3 + float(sums[1:3].mean())
    health = regrow.inspect(net, X)
    assert health["one"].units["rare"] == (UNIT,)
    assert named(health) == {("rare", "one")}


def test_channels_of_a_convolution_behind_views() -> None:
    """The mark goes with the tensor through a reshape."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.SiLU(inplace=True), nn.Flatten(), nn.Linear(8 * 36, 5)
    )
    with torch.no_grad():
        net[0].weight[UNIT] *= 0.5
        net[0].bias[UNIT] = -9.0
    assert regrow.inspect(net, X)["0"].units["saturated"] == (UNIT,)


def test_marks_of_tensors_that_are_gone_are_gone() -> None:
    values = PassValues()
    kept = torch.zeros(3, 4)
    values.flattened(kept, torch.ones(3, 4, dtype=torch.bool))
    for _ in range(5):
        passing = torch.zeros(3, 4)
        values.flattened(passing, torch.zeros(3, 4, dtype=torch.bool))
        del passing
    assert len(values._flat) <= 2
    found = values.flat(kept.view(12)[4:8])
    assert found is not None
    assert found.tolist() == [True] * 4
    assert values.flat(torch.zeros(3, 4)) is None


def test_a_function_without_flat_ends_has_none() -> None:
    x = torch.randn(4)
    assert FlatEnds(0.01).marked(nn.functional.celu, (x, 100.0), {}) is None
    assert (
        FlatEnds(0.01).marked(nn.functional.gelu, (torch.ones(3, dtype=torch.int64),), {}) is None
    )


def test_a_part_that_was_written_over_says_nothing_of_the_rest() -> None:
    values = PassValues()
    x = torch.tensor([[1.0, -2.0], [3.0, -4.0]])
    values.floored(x[:, :1])  # as x[:, :1].relu_() does
    values.bounded(x[:, :1], (0.0, 1.0))
    assert values.ends(x, (1,), lowest=True).low.tolist() == [[1.0, -2.0], [3.0, -4.0]]
    assert values.bounds(x) is None


def test_the_smallest_value_is_left_out_only_for_who_does_not_need_it() -> None:
    values = PassValues()
    x = torch.tensor([[[1.0, 2.0], [0.0, 5.0]]])
    values.floored(x)
    assert values.ends(x, (1,), lowest=True).low.tolist() == [[0.0, 0.0]]
    assert values.ends(x, (1,)).low.tolist() == [[1.0, 0.0]]
    assert values.ends(x, (1,), lowest=True).high.tolist() == [[2.0, 5.0]]


def _clipped(low: float, high: float, *, by_name: bool = False) -> nn.Module:
    class Clipped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if by_name:
                return nn.functional.hardtanh(x, max_val=high, min_val=low)
            return nn.functional.hardtanh(x, low, high)

    return Clipped()


@pytest.mark.parametrize("by_name", [False, True])
def test_a_hard_tanh_is_flat_at_its_own_bounds(by_name: bool) -> None:
    net = Mlp(_clipped(-3.0, 4.0, by_name=by_name))
    with torch.no_grad():
        net.one.weight *= 0.1
        net.one.bias.fill_(2.0)  # above 1, and below 4
        net.one.bias[UNIT] = 4.0 + 2.3 * float(net.one(X.flatten(1))[:, UNIT].std())
    units = regrow.inspect(net, X)["one"].units
    assert units["dead"] == ()
    assert units["saturated"] == (UNIT,)


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.Hardtanh(0.0, 6.0)])
def test_who_gives_more_than_1_behind_a_relu6_is_not_saturated(activation: nn.Module) -> None:
    net = Mlp(activation)
    with torch.no_grad():
        net.one.bias += 3.0
    assert not regrow.inspect(net, X)["one"].units.get("saturated")
