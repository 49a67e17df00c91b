"""Gain control in `torch.fx`, `torch.export` and a TorchScript trace: the same numbers as the layer itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from crossed import crossed, pairs
from regrow.errors import ShapeError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Converting a tensor:torch.jit.TracerWarning"),
]
SIZES = {1: (4, 3, 6), 2: (4, 3, 5, 6), 3: (4, 3, 3, 2, 4)}
CLASSES: dict[int, Any] = {
    1: regrow.nn.GainControl1d,
    2: regrow.nn.GainControl2d,
    3: regrow.nn.GainControl3d,
}
FORMS: dict[str, Callable[[nn.Module, torch.Tensor], Any]] = {
    "torch.fx": lambda net, x: torch.fx.symbolic_trace(net),
    "torch.export": lambda net, x: torch.export.export(net, (x,)).module(),
    "torch.jit.trace": torch.jit.trace,
}


def _network(dims: int, **settings: Any) -> nn.Sequential:
    torch.manual_seed(1)
    layer = CLASSES[dims](3, mean_scale=0.7, gain=1.3, bias=0.2, **settings)
    return nn.Sequential(layer, nn.Tanh())


@pytest.mark.parametrize(
    ("settings", "form", "dims"),
    crossed(
        [
            {},
            {"positive_gain": True, "relu": True},
            {"learn_gain": False, "learn_mean_scale": False},
        ],
        pairs(FORMS, SIZES),
    ),
)
def test_the_same_numbers_and_gradients(form: str, dims: int, settings: dict[str, Any]) -> None:
    net, x = _network(dims, **settings).double(), torch.randn(SIZES[dims], dtype=torch.float64)
    made = FORMS[form](net, x)
    other = torch.randn_like(x)
    for given in (x, other):
        torch.testing.assert_close(made(given), net(given), rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(net(other).square().sum(), list(net.parameters()))
    parameters = [each for _, each in made.named_parameters()]  # type: ignore[attr-defined]
    found = torch.autograd.grad(made(other).square().sum(), parameters, allow_unused=True)
    for one, two in zip(wanted, found, strict=True):
        assert two is not None
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_a_map_of_one_position_in_a_traced_graph() -> None:
    """Refused, passed through, or as the formula has it: known when the input comes, and not before."""
    one, form = torch.randn(2, 3, 1, 1), "torch.fx"
    strict = FORMS[form](_network(2), one)
    with pytest.raises(ShapeError, match="more than one position"):
        strict(one)
    for setting in ("pass_through", "formula"):
        net = _network(2, single_position=setting)
        torch.testing.assert_close(FORMS[form](net, one)(one), net(one))
        more = torch.randn(2, 3, 2, 1)
        torch.testing.assert_close(FORMS[form](net, one)(more), net(more))


def test_torchscript_is_refused_in_words_and_the_model_is_left_as_it_was() -> None:
    net = _network(2)
    before = list(net)
    with pytest.raises(TypeError, match=r"GainControl2d cannot be compiled by torch\.jit\.script"):
        torch.jit.script(net)
    assert list(net) == before


def test_a_traced_graph_has_one_call_for_the_layer() -> None:
    graph = torch.fx.symbolic_trace(_network(2)).graph
    calls = [node.name for node in graph.nodes if node.op == "call_function"]
    assert calls == ["gain_controlled"]
