"""The plain stack."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from regrow.lab.models.registry import build


def make(size: int = 32, **settings: Any) -> torch.nn.Module:
    return build(
        "convnet", in_channels=3, image_size=(size, size), classes=10, settings=settings, seed=0
    )


@pytest.mark.parametrize(
    ("depth", "count"), [(3, 19_584), (8, 66_144), (13, 112_704), (18, 159_264)]
)
def test_parameter_counts_published_for_the_repr_paper(depth: int, count: int) -> None:
    # The paper's table says 20, 66, 113 and 159 thousand, without the last layer: 27*32 + (n-1)*9216 + 96 n.
    model = make(depth=depth, norm="batch", head="average")
    assert sum(p.numel() for p in model.get_submodule("features").parameters()) == count


@pytest.mark.parametrize(
    ("size", "settings", "inputs"),
    [
        (32, {}, 32 * 4 * 4),
        (32, {"pool": False}, 32 * 32 * 32),
        (32, {"depth": 6}, 32 * 2 * 2),  # 32, 16, 8, 4, 2, then too small to halve
        (5, {}, 32 * 2 * 2),
        (32, {"head": "average", "width": 7}, 7),
    ],
)
def test_pooling_stops_below_four_pixels(size: int, settings: dict[str, Any], inputs: int) -> None:
    model = make(size, **settings)
    assert model.get_submodule("head").weight.shape == (10, inputs)
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 10)


def test_windows_of_three_lie_where_tensorflow_lays_them() -> None:
    """Padding "SAME" of a map of even size: one row and one column behind it, that are never the largest."""
    layers = make(init="trunc_normal:0.04:0.08", kernel=5, pool_size=3).get_submodule("features")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = images
        for number in (1, 2, 3):
            conv = layers.get_submodule(f"conv{number}")
            assert isinstance(conv, torch.nn.Conv2d)
            maps = F.relu(F.conv2d(maps, conv.weight, conv.bias, padding=2))
            behind = F.pad(maps, (0, 1, 0, 1), value=-math.inf)
            maps = behind.unfold(2, 3, 2).unfold(3, 3, 2).amax((-2, -1))
        assert maps.shape == (2, 32, 4, 4)
        torch.testing.assert_close(layers(images), maps)


def test_the_released_code_of_repr_has_as_many_parameters() -> None:
    # Three 5x5 convolutions with a bias, and 512 inputs of the dense layer.
    count = (75 + 1) * 32 + 2 * (800 + 1) * 32 + (512 + 1) * 10
    assert sum(p.numel() for p in make(kernel=5, pool_size=3).parameters()) == count


@pytest.mark.parametrize("size", [4, 5, 6, 7, 9, 13])
def test_either_window_halves_the_map(size: int) -> None:
    two, three = (make(size, pool_size=window).get_submodule("head") for window in (2, 3))
    assert two.weight.shape == three.weight.shape


def test_layers_in_order() -> None:
    children = [
        name for name, _ in make(depth=2, norm="batch").get_submodule("features").named_children()
    ]
    assert children == ["conv1", "norm1", "relu1", "pool1", "conv2", "norm2", "relu2", "pool2"]
