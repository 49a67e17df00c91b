"""The plain stack."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regrow.lab.models import build


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


def test_layers_in_order() -> None:
    children = [
        name for name, _ in make(depth=2, norm="batch").get_submodule("features").named_children()
    ]
    assert children == ["conv1", "norm1", "relu1", "pool1", "conv2", "norm2", "relu2", "pool2"]
