"""The paper's network, layer by layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 # the name that every reader of torch code expects

from regrow.errors import ConfigError
from regrow.lab.models.registry import build


def make(size: int = 15, **settings: Any) -> torch.nn.Module:
    return build(
        "cratercnn", in_channels=1, image_size=(size, size), classes=2, settings=settings, seed=0
    )


def test_shapes_as_in_the_paper() -> None:
    model = make()
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes == {
        "conv1.weight": (20, 1, 4, 4),
        "conv1.bias": (20,),
        "conv2.weight": (20, 20, 4, 4),
        "conv2.bias": (20,),
        "dense.weight": (500, 1620),  # 15 -> 12 -> 9, 20 * 9 * 9
        "dense.bias": (500,),
        "head.weight": (2, 500),
        "head.bias": (2,),
    }
    # 20*16+20 + 20*320+20 + 1620*500+500 + 1000+2
    assert sum(parameter.numel() for parameter in model.parameters()) == 818_262


@pytest.mark.parametrize(
    ("size", "padding", "dense_inputs"), [(15, 1, 20 * 13 * 13), (8, 0, 20 * 2 * 2), (7, 0, 20)]
)
def test_the_dense_layer_fits_the_map(size: int, padding: int, dense_inputs: int) -> None:
    model = make(size, padding=padding)
    assert model.get_submodule("dense").weight.shape == (500, dense_inputs)
    assert model(torch.zeros(3, 1, size, size)).shape == (3, 2)


def test_the_forward_pass_is_the_formula() -> None:
    model = make(9, filters=3, dense=5).double()
    p = dict(model.named_parameters())
    images = torch.randn(
        2, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    maps = F.conv2d(images, p["conv1.weight"], p["conv1.bias"]).clamp(min=0)
    maps = F.conv2d(maps, p["conv2.weight"], p["conv2.bias"]).clamp(min=0)
    hidden = (maps.reshape(2, -1) @ p["dense.weight"].T + p["dense.bias"]).clamp(min=0)
    torch.testing.assert_close(model(images), hidden @ p["head.weight"].T + p["head.bias"])


def test_batch_norm_sits_between_convolution_and_relu() -> None:
    model = make(norm="batch", filters=4)
    seen: dict[str, torch.Tensor] = {}
    for name in ("norm1", "norm2"):
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.update({name: output})
        )
    model(torch.randn(6, 1, 15, 15, generator=torch.Generator().manual_seed(0)))
    for output in seen.values():
        assert (output < 0).any()
        torch.testing.assert_close(output.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert isinstance(make().get_submodule("norm1"), torch.nn.Identity)


@pytest.mark.parametrize(
    ("size", "settings", "message"),
    [
        (6, {}, r"at least 7 pixels .* two 4x4 convolutions with padding 0, got 6: 6 -> 3 -> 0"),
        (4, {"padding": 1}, None),
        (2, {"padding": 1}, r"at least 3 pixels .* got 2: 2 -> 1 -> 0"),
        (1, {"kernel": 9, "padding": 4}, None),
        (1, {"kernel": 10, "padding": 4}, r"at least 3 pixels .* got 1: 1 -> 0 -> -1"),
    ],
)
def test_too_small_an_image_is_told_with_the_arithmetic(
    size: int, settings: dict[str, int], message: str | None
) -> None:
    if message is None:
        make(size, **settings)
    else:
        with pytest.raises(ConfigError, match=message):
            make(size, **settings)


@pytest.mark.parametrize(("kernel", "padding"), [(4, 0), (4, 1), (7, 1), (10, 4), (5, 2)])
def test_the_smallest_size_that_the_error_names_works(kernel: int, padding: int) -> None:
    def fits(size: int) -> bool:
        try:
            make(size, kernel=kernel, padding=padding, filters=1, dense=1)
        except ConfigError as error:
            smallest.add(int(str(error).split("at least ")[1].split()[0]))
            return False
        return True

    smallest: set[int] = set()
    first = next(size for size in range(1, 40) if fits(size))
    assert smallest <= {first}
