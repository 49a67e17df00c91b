"""While filters are out, real networks are their smaller selves: function, training and what comes back.

The smaller network is a copy whose dropped channels are multiplied by 0 where they are made and where they are heard:
the numbers behind them do not matter there, and are not looked at.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
import zlib
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from regrow.graph import Filters, Wiring, gates
from regrow.selection import Selection
from zoo.nets import WHY_NOT_HERE, build, installed

pytestmark = pytest.mark.skipif(not installed(), reason=WHY_NOT_HERE)

QUICK = ("timm/test_nfnet",)
SLOW = (
    "torchvision/squeezenet1_1",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/resnet18",
    "torchvision/mobilenet_v2",
    "torchvision/mobilenet_v3_small",
    "timm/regnety_002",
    "torchvision/densenet121",
    "torchvision/googlenet",
    "torchvision/vgg11",
    "torchvision/resnext50_32x4d",
    "timm/resnetv2_18",
    "timm/resnet50_gn",
    "timm/skresnet18",
    "timm/dla46x_c",
    "timm/ghostnet_050",
    "timm/repghostnet_050",
    "timm/mobilenetv4_conv_small_035",
)
STEPS = 3


@dataclasses.dataclass(frozen=True)
class EveryThird(Selection):
    """One filter in three of every layer, at a place of its own, and never all."""

    def __call__(
        self, scores: Mapping[str, Tensor], *, eligible: object, step: int
    ) -> dict[str, Tensor]:
        """Mark them."""
        return {
            layer: torch.arange(len(values)) % 3 == zlib.crc32(layer.encode()) % 3
            if len(values) > 2
            else torch.zeros(len(values), dtype=torch.bool)
            for layer, values in scores.items()
        }


def _recipe() -> regrow.Recipe:
    whole = regrow.RePr(s1=1, s2=STEPS, cycles=1, unit="steps")
    return whole.with_parts(select=EveryThird())


def _optimizer(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=0.01)


def _train(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, step: int) -> Tensor:
    torch.manual_seed(step)  # of dropout and of layers that are left out at random
    optimizer.zero_grad()
    given = net(x)
    logits = given if isinstance(given, Tensor) else given[0]
    F.cross_entropy(logits, torch.arange(len(x))).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return logits.detach()


def _bound(wiring: Wiring, gone: Mapping[str, set[int]]) -> dict[str, set[int]]:
    """With the filters of depthwise layers that read a channel that nobody else writes."""
    found = {path: set(filters) for path, filters in gone.items()}
    for layer in wiring.layers:
        for reader in layer.readers:
            if reader.path not in wiring or reader.groups == 1:
                continue
            behind = wiring[reader.path]
            if behind.weight_shape[1] != 1:
                continue
            each = behind.count // reader.groups
            for unit in found.get(layer.path, ()):
                for channel, alone in zip(reader.channels[unit], reader.alone[unit], strict=True):
                    if alone:
                        more = range(channel * each, (channel + 1) * each)
                        found.setdefault(reader.path, set()).update(more)
    return found


def _mask_channels(net: nn.Module, wiring: Wiring, gone: Mapping[str, set[int]]) -> None:
    modules = dict(net.named_modules())

    def zeros(channels: list[int]) -> Tensor:
        return torch.tensor(sorted(channels), dtype=torch.int64)

    def silence(x: Tensor, channels: Tensor) -> Tensor:
        axis = 1 if x.ndim != 2 else -1
        factor = torch.ones(x.shape[axis], dtype=x.dtype)
        factor[channels] = 0.0
        return x * factor.reshape(-1, *(1,) * (x.ndim - 2) if x.ndim > 2 else ())

    def after(path: str, channels: Tensor) -> None:
        modules[path].register_forward_hook(lambda _, __, out: silence(out, channels))

    for path, filters in gone.items():
        layer = wiring[path]
        after(path, zeros(list(filters)))
        for norm in layer.norms:
            after(norm.path, zeros([e for unit in filters for e in norm.channels[unit]]))
        for reader in layer.readers:
            heard = zeros(
                [
                    channel
                    for unit in filters
                    for channel, alone in zip(
                        reader.channels[unit], reader.alone[unit], strict=True
                    )
                    if alone
                ]
            )
            modules[reader.path].register_forward_pre_hook(
                lambda _, args, heard=heard: (silence(args[0], heard), *args[1:])
            )


def _judge(name: str) -> None:
    net, x = build(name)
    net, x = net.double().train(), x.double()
    x = torch.randn(4, *x.shape[1:], dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    optimizer = _optimizer(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        wiring = regrow.trace(net, x[:1])
        regrower = regrow.attach(_recipe(), net, optimizer, wiring=wiring)
        _train(net, optimizer, x, 0)
        report = regrower.report
        gone = _bound(wiring, {path: set(out) for path, out in report.resting.items()})
        assert sum(map(len, report.resting.values())) > 0.2 * sum(report.layers.values())
        switches = {path for path in gates(wiring) if path in report.layers}
        assert not switches
        frozen: dict[str, Tensor] = regrower.state_dict()["resting"]["frozen"]
        for path in gone:
            for norm in wiring[path].norms:
                assert norm.running_var is None or norm.running_var in frozen
        small = copy.deepcopy(net)
        other = _optimizer(small)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        _mask_channels(small, wiring, gone)
        for step in range(1, STEPS):
            mine, its = (
                _train(each, by, x, step) for each, by in ((net, optimizer), (small, other))
            )
            torch.testing.assert_close(mine, its, rtol=1e-7, atol=1e-7 * float(its.abs().max()))
        theirs = dict(small.named_parameters())
        for key, parameter in net.named_parameters():
            kept = ~frozen[key] if key in frozen else torch.ones_like(parameter, dtype=torch.bool)
            torch.testing.assert_close(parameter[kept], theirs[key][kept], rtol=1e-6, atol=1e-9)
            assert not parameter[~kept].any(), key
        _comes_back(net, optimizer, x, regrower, wiring=wiring, frozen=frozen)


def _comes_back(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    regrower: regrow.Regrower,
    *,
    wiring: Wiring,
    frozen: Mapping[str, Tensor],
) -> None:
    """What was silenced is as it was, but for the renewed filters' own entries."""
    saved = {key: value.clone() for key, value in regrower.state_dict()["resting"]["saved"].items()}
    renewed = dict(regrower.report.resting)
    _train(net, optimizer, x, STEPS)
    assert not regrower.report.resting
    assert {event.layer: event.filters for event in regrower.report.events} == renewed
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    fresh: dict[str, Tensor] = {}
    for path, filters in renewed.items():
        for key, entries in _own(wiring[path], filters):
            fresh.setdefault(key, torch.zeros_like(tensors[key], dtype=torch.bool))[entries] = True
        for norm in wiring[path].norms:
            if norm.running_var is not None:
                at = [entry for unit in filters for entry in norm.channels[unit]]
                assert (tensors[norm.running_var][at] == 1).all()
                assert (tensors[norm.running_mean or ""][at] == 0).all()
    for key, mask in frozen.items():
        same = mask & ~fresh.get(key, torch.zeros_like(mask))
        assert torch.equal(tensors[key][same], saved[key][same]), key
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    with torch.no_grad():
        assert net.eval()(x).isfinite().all()


def _own(layer: Filters, filters: tuple[int, ...]) -> list[tuple[str, list[int]]]:
    names = [(layer.weight, list(filters)), (layer.bias, list(filters))]
    for norm in layer.norms:
        entries = [entry for unit in filters for entry in norm.channels[unit]]
        names += [(name, entries) for name in (norm.weight, norm.bias, norm.running_mean)]
        names.append((norm.running_var, entries))
    return [(name, entries) for name, entries in names if name is not None]


@pytest.mark.parametrize("name", QUICK)
def test_quick(name: str) -> None:
    _judge(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more(name: str) -> None:
    _judge(name)
