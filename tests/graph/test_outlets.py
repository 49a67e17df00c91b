"""Where filters leave: behind norm, activation and pooling, before dropout and sums, with the factors on the way."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.optim.swa_utils import AveragedModel

import regrow
from regrow.graph.flows import Flow
from regrow.graph.frames import Frames
from regrow.graph.trace import evaluation_flows, trace_for_evaluation

IMAGES = torch.zeros(2, 3, 8, 8)


class _Net(nn.Module):
    """A forward of one's own over some layers."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], torch.Tensor], **layers: Any) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(self, x)


def _head(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2))


def _flow(net: nn.Module, path: str) -> Flow:
    return regrow.trace(net, IMAGES).flows[path]


def _sites(flow: Flow) -> list[tuple[str, str, int, int]]:
    return [
        (each.site.module, each.site.function, each.site.number, each.site.argument)
        for each in flow.outlets
    ]


def test_a_plain_chain_leaves_at_its_reader() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3)
    )
    flow = _flow(net, "0")
    assert _sites(flow) == [("4", "conv2d", 0, 0)]
    assert (flow.outlets[0].axes, flow.outlets[0].units) == ((1,), (0, 1, 2, 3))
    assert flow.inlet is not None
    assert (flow.inlet.module, flow.inlet_axis) == ("0", -3)


def test_flattened_maps_know_their_filters() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 7), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    assert _flow(net, "0").outlets[0].units == (0, 0, 0, 0, 1, 1, 1, 1)


def test_dropout_is_where_one_looks_and_not_behind() -> None:
    for drop in (nn.Dropout(0.5), nn.Dropout2d(0.5)):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), drop, nn.Conv2d(4, 4, 3), _head())
        (site,) = _sites(_flow(net, "0"))
        assert site[0] == "2"


def test_stochastic_depth_by_hand_is_chance_too() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(net.a(x))
        y = F.relu(net.b(x))
        if net.training:
            keep = (torch.rand(len(y), 1, 1, 1) > 0.5).float()
            y = y * keep / 0.5
        return net.head(x + y)

    net = _Net(forward, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3, padding=1), head=_head())
    assert _sites(_flow(net, "b")) == [("", "mul", 0, 0)]
    assert sorted(_sites(_flow(net, "a"))) == [("", "add", 0, 0), ("b", "conv2d", 0, 0)]


def test_a_functional_activation_before_a_sum_is_in_front_of_it() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        return net.head(net.a(x) + F.relu(net.norm(net.b(x))))

    net = _Net(
        forward,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(3, 4, 3),
        norm=nn.BatchNorm2d(4),
        head=_head(),
    )
    assert _sites(_flow(net, "b")) == [("", "add", 0, 1)]


def test_each_reader_behind_a_concatenation_has_its_own_outlet() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        a = net.a(x)
        b = net.b(F.relu(net.norm1(a)))
        return net.head(F.relu(net.norm2(torch.cat([a, b], 1))))

    net = _Net(
        forward,
        a=nn.Conv2d(3, 4, 3, padding=1),
        b=nn.Conv2d(4, 3, 3, padding=1),
        norm1=nn.BatchNorm2d(4),
        norm2=nn.BatchNorm2d(7),
        head=_head(7),
    )
    assert sorted(_sites(_flow(net, "a"))) == [("b", "conv2d", 0, 0), ("head.2", "linear", 0, 0)]
    assert _flow(net, "b").outlets[0].units == (-1, -1, -1, -1, 0, 1, 2)


def test_factors_are_known_by_entry() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        return net.head(net.a(x) + net.gate * net.scale * net.b(x))

    net = _Net(forward, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(3, 4, 3), head=_head())
    net.gate, net.scale = nn.Parameter(torch.zeros(())), nn.Parameter(torch.ones(4, 1, 1))
    # The product of both is worked out first: what came of it is no tensor of the model's.
    assert ("", "mul", 1, 1) in _sites(_flow(net, "b"))

    def other(net: Any, x: torch.Tensor) -> torch.Tensor:
        return net.head(net.a(x) + net.b(x) * net.scale * net.gate)

    net._forward = other
    factors = {each.name: each.entries for each in _flow(net, "b").factors}
    assert factors == {"scale": ((0,), (1,), (2,), (3,)), "gate": ((0,),) * 4}


def test_a_gate_is_read_before_it_multiplies() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(net.a(x))
        return net.head(x * net.g(x.mean((2, 3), keepdim=True)).sigmoid())

    net = _Net(forward, a=nn.Conv2d(3, 4, 3), g=nn.Conv2d(4, 4, 1), head=_head())
    assert sorted(_sites(_flow(net, "a"))) == [("", "mul", 0, 0), ("g", "conv2d", 0, 0)]
    assert _sites(_flow(net, "g")) == [("", "mul", 0, 1)]


def test_zeros_around_a_map_are_no_other_filter() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        return net.head(net.b(F.pad(net.a(x), (0, 1, 0, 1))))

    net = _Net(forward, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3), head=_head())
    assert _flow(net, "a").outlets[0].axes == (1,)


def test_a_layer_that_is_called_twice_counts_in_each_call() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        return net.head(net.b(net.drop(net.a(x))) + net.b(net.drop(net.a(x.flip(0)))))

    net = _Net(
        forward, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3), drop=nn.Dropout(0.1), head=_head()
    )
    assert [each.site.call for each in _flow(net, "a").outlets] == [-1]


def test_a_module_in_two_places_is_told_apart_by_its_call() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        return net.head(net.drop(net.b(net.drop(net.a(x)))))

    net = _Net(
        forward, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 3), drop=nn.Dropout(0.1), head=_head()
    )
    wiring = regrow.trace(net, IMAGES)
    sites = [wiring.flows[path].outlets[0].site for path in ("a", "b")]
    assert [(each.module, each.call, each.calls) for each in sites] == [
        ("drop", 0, 2),
        ("drop", 1, 2),
    ]


def test_a_model_that_cannot_train_on_the_example_is_followed_in_evaluation_mode() -> None:
    def forward(net: Any, x: torch.Tensor) -> torch.Tensor:
        if net.training:
            raise RuntimeError("in training mode, targets should be passed")
        return net.head(net.a(x))

    net = _Net(forward, a=nn.Conv2d(3, 4, 3), head=_head())
    assert _sites(_flow(net, "a")) == [("head.2", "linear", 0, 0)]


def test_one_example_is_enough_for_a_norm_in_training_mode() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert _sites(regrow.trace(net, IMAGES[:1]).flows["0"]) == [("3", "conv2d", 0, 0)]


@pytest.mark.parametrize("through", [copy.deepcopy, lambda net: AveragedModel(net).module])
def test_calls_are_seen_without_a_trace_in_copies(through: Callable[[Any], Any]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), _head())
    frames = Frames(net)
    frames.install()
    try:
        net(IMAGES)
        assert frames.calls["2.2"] == 1
        other = through(net)
        other(IMAGES)
        assert frames.calls["2.2"] == 1
        assert pickle.loads(pickle.dumps(net))(IMAGES).shape == (2, 2)  # noqa: S301 # our own bytes
    finally:
        frames.remove()
    net(IMAGES)
    assert frames.calls["2.2"] == 1
    assert not any("_compiled_call_impl" in module.__dict__ for module in net.modules())


def test_one_run_does_for_the_wiring_and_for_where_filters_leave_in_evaluation() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 5), nn.ReLU()
    )
    net.append(nn.Linear(5, 2))
    x = torch.zeros(2, 3, 8, 8)
    wiring, flows = trace_for_evaluation(net, x)
    assert wiring == regrow.trace(net, x)
    assert flows == evaluation_flows(net, x)
    assert flows["0"] != wiring.flows["0"]  # training has its dropout in front of the reader
