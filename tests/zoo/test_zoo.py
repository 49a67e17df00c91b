"""The zoo: torchvision's and timm's CNNs, traced and judged by running them."""

from __future__ import annotations

import warnings

import pytest
import torch

from crossed import seldom
from regrow.graph import trace
from zoo import nets
from zoo.rows import counts, measure

pytestmark = pytest.mark.skipif(not nets.installed(), reason=nets.WHY_NOT_HERE)

SAMPLE = (
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/squeezenet1_1",
    "timm/test_nfnet",
)
"""As different as possible, and quick."""


def rightly_wired(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, of old names and default values
        row = measure(name)
    assert row["wrong"] == []
    assert row["not_judged"] == []
    assert row["filters"] > 0
    assert row["judged"] > 0


@pytest.mark.parametrize("name", seldom(SAMPLE, often=SAMPLE[1:]))
def test_a_sample_is_wired_rightly(name: str) -> None:
    rightly_wired(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*nets.TORCHVISION, *nets.TIMM])
def test_every_network_is_wired_rightly(name: str) -> None:
    rightly_wired(name)


def test_the_list_of_torchvision_is_complete() -> None:
    from torchvision import models

    named = {name.partition("/")[2] for name in nets.TORCHVISION}
    assert named.isdisjoint(nets.LEFT_OUT)
    assert named | set(nets.LEFT_OUT) == set(models.list_models(module=models))


def test_the_list_of_timm_is_long_and_without_doubles() -> None:
    assert len(nets.TIMM) == len(set(nets.TIMM)) == 150


def test_networks_are_drawn_so_that_nothing_hides() -> None:
    net, x = nets.build("timm/test_nfnet")
    for name, tensor in net.named_parameters():
        assert bool((tensor != 0).all()), name
    again, same = nets.build("timm/test_nfnet")
    assert torch.equal(x, same)
    assert all(
        torch.equal(a, b)
        for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True)
    )


@pytest.mark.slow
def test_a_resnet50_is_followed_whole() -> None:
    from torchvision import models

    net = models.resnet50(weights=None)
    x = torch.zeros(1, 3, 224, 224)
    assert counts(net, x, trace(net, x))["followed"] == 26_560
