"""A silenced filter is one that is out of the network: the same outputs, in every way layers can be wired."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from crossed import seldom
from graph.nets import BasicBlock, Forward, build, example, randomised
from regrow.criteria import Signal
from regrow.graph import Wiring
from regrow.graph.undisturbed import undisturbed
from regrow.loop.measure.data import CalibrationData
from regrow.loop.measure.examples import Examples
from regrow.loop.measure.gates import _multiplier
from regrow.loop.measure.places import heard_at, silenced_at, tapping
from regrow.loop.measure.probe import Probe
from regrow.loop.measure.silencer import Silencer
from regrow.loop.measure.survey import Survey
from regrow.renewal import Absence
from regrow.surgery import apply_edits_

ROWS = 5
KINDS = ("conv", "linear", "conv_transpose")


def plain(act: Callable[[Tensor], Tensor], *, norm: bool) -> nn.Module:
    """Convolution, maybe a norm, activation, pooling; then flattened, so that a filter is four features."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = F.max_pool2d(act(net.na(net.a(x))), 2)
        return net.head(net.inner(act(net.b(x)).flatten(1)))

    return Forward(
        run,
        a=nn.Conv2d(3, 4, 3, padding=1),
        na=nn.BatchNorm2d(4) if norm else nn.Identity(),
        b=nn.Conv2d(4, 5, 3),
        inner=nn.Linear(5 * 4, 6),
        head=nn.Linear(6, 3),
    )


def two_readers() -> nn.Module:
    """Read by a convolution and, pooled, by a linear layer."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = torch.sigmoid(net.a(x))
        return net.head(net.b(x).flatten(1)) + net.side(x.mean((2, 3)))

    return Forward(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 2, 3),
        head=nn.Linear(2 * 16, 3),
        side=nn.Linear(4, 3),
    )


def depthwise() -> nn.Module:
    """A depthwise layer with a bias and a norm hears a filter alone: its channel goes with it."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Sigmoid(),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.BatchNorm2d(4),
        nn.Sigmoid(),
        nn.Conv2d(4, 6, 1, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 36, 3),
    )


def group_norm() -> nn.Module:
    """Whether a filter is there changes its group's statistics."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )


def blocks() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        BasicBlock(4, 4),
        BasicBlock(4, 6, 2),
        nn.Flatten(),
        nn.Linear(6 * 16, 3),
    )


OWN: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: plain(F.relu, norm=False),
    "norm and relu": lambda: plain(F.relu, norm=True),
    "gelu": lambda: plain(F.gelu, norm=False),
    "sigmoid, which is not 0 at 0": lambda: plain(torch.sigmoid, norm=True),
    "two readers": two_readers,
    "depthwise": depthwise,
    "group norm": group_norm,
    "blocks": blocks,
}
NETS = (
    "crater",
    "conv_bn_pool",
    "resnet",
    "resnet_option_a",
    "dense_concat",
    "split_and_shuffle",
    "grouped_and_depthwise",
    "transposed",
    "one_dimension",
    "three_dimensions",
    "squeeze_and_excite",
    "tied",
    "channel_layer_norm",
    "in_place",
    "encoder_decoder",
    "spatial_gate",
    "self_attention",
    "fixed_kernel",
    "other_norms",
)
LATE = {
    "relu": {"a", "b", "inner"},
    "blocks": {"0"},
    "resnet": {"0"},
    "crater": {"0", "2", "5"},
}
"""Where copies can be made behind the first layers; the others are made at the input."""
AS_WHOLE = {"depthwise": {"0"}, "grouped_and_depthwise": {"0"}, "channel_layer_norm": {"stem"}}
"""Filters that take others with them when they are silenced; a gate on what is heard does not."""
MIXED = {"group norm": {"0"}}
"""Filters whose absence changes how others are normalised; a gate behind the norm does not."""


class Case:
    """A network with a silencer for all layers that can be silenced."""

    def __init__(self, name: str) -> None:
        self.x = example(name, count=ROWS)
        if name in OWN:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.net = randomised(OWN[name]())
        else:
            self.net = build(name)
        self.wiring: Wiring = regrow.trace(self.net, self.x[:2])
        self.layers = {
            layer.path: layer
            for layer in self.wiring.renewable(layers=KINDS)
            if "attend" not in layer.path and layer.path != "patch"
        }
        counts = {path: layer.count for path, layer in self.layers.items()}
        self.examples = Examples(CalibrationData(self.net, self.x))
        with undisturbed(self.net):
            survey = Survey(self.net, self.wiring.layers, self.examples, rows=3)
            places = {
                path: silenced_at(layer, survey, wiring=self.wiring)
                for path, layer in self.layers.items()
            }
            self.heard = {
                path: heard_at(layer, survey)
                for path, layer in self.layers.items()
                if path != "depthwise"
            }
            self.silencer = Silencer(places, counts, self.examples, rows=3)

    def without(self, layer: str, index: int) -> Tensor:
        """The network with the filter set to zero as dropping does it."""
        net = copy.deepcopy(self.net)
        params = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        mask = torch.arange(self.layers[layer].count) == index
        apply_edits_(params, Absence(self.wiring).edits({layer: mask}, params=params))
        with torch.no_grad():
            return net(self.x)


@pytest.mark.parametrize("name", seldom([*OWN, *NETS], often=[*list(OWN)[::2], "self_attention"]))
def test_silenced_is_out_of_the_network(name: str) -> None:
    case = Case(name)
    whole = case.net(case.x).detach()
    heard = 0
    for path, layer in case.layers.items():
        filters = range(layer.count)
        with undisturbed(case.net):
            together = case.silencer._without(path, filters, 0, ROWS).unflatten(0, (-1, ROWS))
            early = case.silencer._without(path, filters, 0, ROWS, late=False)
        torch.testing.assert_close(early.unflatten(0, (-1, ROWS)), together, rtol=0, atol=1e-13)
        for index in filters:
            gone = case.without(path, index)
            torch.testing.assert_close(together[index], gone, rtol=0, atol=1e-13)
            heard += not torch.allclose(gone, whole)
    assert heard > 0.5 * sum(layer.count for layer in case.layers.values())
    assert case.silencer.late >= LATE.get(name, set())
    if name in {"blocks", "resnet"}:
        assert case.silencer.late == LATE[name]


@pytest.mark.parametrize("name", seldom([*OWN, *NETS], often=[*list(OWN)[1::2], "resnet"]))
def test_a_gate_of_zero_is_out_of_the_network(name: str) -> None:
    """What slopes are derivatives by: at 0 it takes away all that is heard of a filter, and nothing else."""
    case = Case(name)
    for path, places in case.heard.items():
        layer = case.layers[path]
        equal: list[bool] = []
        for index in range(layer.count):
            gates = torch.ones(ROWS, layer.count, dtype=torch.float64)
            gates[:, index] = 0.0
            multiplier = _multiplier({path: gates}, towards_mean=False)
            with torch.no_grad(), tapping({path: places}, multiplier):
                gated = case.net(case.x)
            gone = case.without(path, index)
            equal.append(torch.allclose(gated, gone, rtol=0, atol=1e-13))
        assert all(equal) != (path in AS_WHOLE.get(name, set()) | MIXED.get(name, set()))


def test_sums_over_parts_are_those_of_single_filters() -> None:
    """Parts of examples and of filters of which neither divides the whole."""
    case = Case("blocks")
    targets = torch.arange(ROWS) % 3
    examples = Examples(CalibrationData(case.net, case.x, targets=targets))
    silencer = Silencer(
        case.silencer._places,
        {path: layer.count for path, layer in case.layers.items()},
        examples,
        rows=3,
    )
    for limit in (6, 64):
        silencer._rows_at_once = lambda limit=limit: limit  # type: ignore[method-assign]
        with undisturbed(case.net):
            sums = silencer.sums(accuracy=True)
        for path, found in sums.items():
            assert found[4].tolist() == [ROWS] * case.layers[path].count
            for index in range(case.layers[path].count):
                gone = case.without(path, index)
                whole = case.net(case.x).detach()
                expected = [
                    F.cross_entropy(whole, targets).item(),
                    F.cross_entropy(gone, targets).item(),
                    (whole.argmax(1) == targets).double().mean().item(),
                    (gone.argmax(1) == targets).double().mean().item(),
                ]
                assert (found[:4, index] / ROWS).tolist() == pytest.approx(expected, abs=1e-12)


def test_without_the_wiring_only_the_filter_itself_is_silenced() -> None:
    case = Case("depthwise")
    told = {"targets": torch.arange(ROWS) % 3, "signals": [Signal.SILENCED_LOSS]}
    layers = list(case.layers.values())
    alone = Probe(case.net, layers, case.x, **told).observe()["0"].silenced_loss  # type: ignore[arg-type]
    whole = Probe(case.net, layers, case.x, wiring=case.wiring, **told).observe()["0"].silenced_loss  # type: ignore[arg-type]
    assert alone is not None
    assert whole is not None
    assert not torch.allclose(alone.without, whole.without)
