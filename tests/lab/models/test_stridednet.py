"""Convolutions that halve their maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from regrow.lab.models.registry import build


def made(*, size: tuple[int, int] = (16, 16), **settings: Any) -> nn.Module:
    return build(
        "stridednet", in_channels=3, image_size=size, classes=10, settings=settings, seed=0
    )


def test_the_defaults_are_the_network_of_cmemo300() -> None:
    sizes = {name: tuple(tensor.shape) for name, tensor in made().state_dict().items()}
    assert sizes == {
        "features.conv1.weight": (8, 3, 3, 3),
        "features.conv1.bias": (8,),
        "features.conv2.weight": (16, 8, 3, 3),
        "features.conv2.bias": (16,),
        "dense.weight": (64, 256),
        "dense.bias": (64,),
        "head.weight": (10, 64),
        "head.bias": (10,),
    }


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize(
    ("settings", "size", "maps"),
    [
        ({}, (16, 16), (4, 4)),
        ({}, (15, 17), (4, 5)),
        ({"stride": 3, "kernel": 5}, (16, 7), (2, 1)),
        ({"stride": 1, "kernel": 1}, (3, 2), (3, 2)),
    ],
)
def test_it_is_convolutions_and_two_dense_layers(
    settings: dict[str, Any], size: tuple[int, int], maps: tuple[int, int], activation: str
) -> None:
    model = made(size=size, activation=activation, **settings)
    state = model.state_dict()
    slope = 0.01 if activation == "leaky_relu" else 0.0
    x = images = torch.randn(5, 3, *size)
    for layer in ("features.conv1", "features.conv2"):
        x = F.conv2d(
            x,
            state[f"{layer}.weight"],
            state[f"{layer}.bias"],
            stride=settings.get("stride", 2),
            padding=settings.get("kernel", 3) // 2,
        )
        x = torch.where(x > 0, x, slope * x)
    assert x.shape[2:] == maps
    x = x.flatten(1) @ state["dense.weight"].T + state["dense.bias"]
    x = torch.where(x > 0, x, slope * x)
    logits = x @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(model(images), logits, rtol=1e-4, atol=1e-5)


def test_each_convolution_has_twice_the_filters_of_the_one_before() -> None:
    shapes = made(depth=3, width=5).state_dict()
    assert [shapes[f"features.conv{number}.weight"].shape[0] for number in (1, 2, 3)] == [5, 10, 20]
