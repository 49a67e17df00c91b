"""A silent filter is cut off from real networks without a trace, and a living one by as much as is told."""

import copy

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.compose import Recipe, RecipeInfo
from regrow.criteria import RandomScore
from regrow.graph import Filters, Wiring, is_shared
from regrow.loop import Regrower
from regrow.loop.measure.calibration import Calibration
from regrow.renewal import Redraw
from regrow.schedule import Every
from regrow.selection import CountsOf
from zoo.nets import TIMM, TORCHVISION, WHY_NOT_HERE, build, installed

pytestmark = pytest.mark.skipif(not installed(), reason=WHY_NOT_HERE)

INFO = RecipeInfo(name="test", title="", paper="", year=2026, url="", summary="", differs=())
LAYERS = 4
QUICK = ("torchvision/squeezenet1_1",)


def _attach(
    net: nn.Module, x: Tensor, wiring: Wiring, layer: Filters
) -> tuple[Regrower, torch.optim.Optimizer]:
    """One filter of one layer is renewed at the next step, with rate 0."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    recipe = Recipe(
        info=INFO,
        criterion=RandomScore(),
        select=CountsOf(counts={(0, layer.path): 1}),
        renew=Redraw(preserve=True),
        when=Every(steps=1),
    )
    return regrow.attach(
        *(recipe, net, optimizer),
        wiring=wiring,
        calibration_inputs=x,
        include=[layer.path],
        init="kaiming_normal",
    ), optimizer


def _renewed(net: nn.Module, x: Tensor, wiring: Wiring, layer: Filters) -> tuple[float, float]:
    """The change of the output as it is reported, and as it is."""
    regrower, optimizer = _attach(net, x, wiring, layer)
    net.zero_grad()
    before = _flat(net, x)
    optimizer.step()
    (event,) = regrower.report.events
    assert event.change is not None
    true = (_flat(net, x) - before).abs().amax() / before.abs().amax()
    return event.change, float(true)


def _flat(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net(x).flatten()


def _silence(net: nn.Module, layer: Filters) -> None:
    """Every filter of a layer becomes constant, and so low that a ReLU or one of its kin gives 0."""
    named = dict(net.named_parameters())
    with torch.no_grad():
        named[layer.weight].zero_()
        last = layer.norms[-1].bias if layer.norms else layer.bias
        if last is not None:
            named[last].fill_(-1000.0)


def _silent(net: nn.Module, x: Tensor, layer: Filters) -> bool:
    activity = Calibration(net, x).activity(layer.readers)
    return all(
        reader.path in activity
        and not any(
            bool(activity[reader.path].mean[list(channels)].any()) for channels in reader.channels
        )
        for reader in layer.readers
    )


def _judge(name: str) -> int:
    net, x = build(name)
    net, x = net.double(), x.double()
    wiring = regrow.trace(net, x)
    inner = [
        layer
        for layer in wiring.renewable()
        if not is_shared(layer) and not layer.coupled and layer.readers
    ]
    silent = 0
    for layer in inner[:: max(1, len(inner) // LAYERS)][:LAYERS]:
        kept = copy.deepcopy(net.state_dict())  # with the versions that some networks ask for
        told, true = _renewed(net, x, wiring, layer)
        assert told == pytest.approx(true, rel=1e-9), layer.path
        net.load_state_dict(kept)
        _silence(net, layer)
        if _silent(net, x, layer):
            told, true = _renewed(net, x, wiring, layer)
            if any(reader.standardised for reader in layer.readers):
                # They are kept, for zeros silence nothing there; what the fresh filter says at once is told.
                assert told == pytest.approx(true, rel=1e-9), layer.path
            else:
                assert told == true == 0.0, layer.path
            silent += 1
        net.load_state_dict(kept)
    return silent


@pytest.mark.parametrize("name", QUICK)
def test_quick(name: str) -> None:
    assert _judge(name) >= 1


# Its copies in float64 hold 16 GB, and a machine of continuous integration ends the whole worker for that.
TOO_LARGE = {"torchvision/regnet_y_128gf"}
ALL = [name for name in (*TORCHVISION, *TIMM) if name not in {*QUICK, *TOO_LARGE}]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_all(name: str) -> None:
    _judge(name)
