"""CIFAR residual networks against published counts and a written-out block."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 # the name that every reader of torch code expects

from regrow.errors import ConfigError
from regrow.lab.models.registry import build
from regrow.lab.models.resnet import BasicBlock, ResNet
from regrow.lab.models.settings import ResNetSettings


@pytest.mark.parametrize(("depth", "count"), [(20, 269_722), (32, 464_154), (56, 853_018)])
def test_parameter_counts(depth: int, count: int) -> None:
    # ResNet-20: 432 + 6*2304 + (4608 + 5*9216) + (18432 + 5*36864) weights,
    # 2*(7*16 + 6*32 + 6*64) of norms, 650 of the head.
    model = build(
        f"resnet{depth}", in_channels=3, image_size=(32, 32), classes=10, settings={}, seed=0
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in model.modules()) == depth


def test_maps_are_halved_twice() -> None:
    model = ResNet(
        depth=20,
        in_channels=3,
        image_size=(32, 32),
        classes=10,
        settings=ResNetSettings(width=4),
    )
    sizes: list[tuple[int, ...]] = []
    for name in ("stage1", "stage2", "stage3"):
        model.get_submodule(name).register_forward_hook(
            lambda _m, _i, output: sizes.append(tuple(output.shape[1:]))
        )
    model(torch.zeros(2, 3, 32, 32))
    assert sizes == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]


def test_the_shortcut_subsamples_and_pads_with_zero_channels() -> None:
    block = BasicBlock(4, 8, stride=2).eval()
    torch.nn.init.zeros_(
        block.bn2.weight
    )  # the residual branch gives nothing: only the shortcut is left
    maps = torch.rand(2, 4, 7, 7, generator=torch.Generator().manual_seed(0))
    out = block(maps)
    assert out.shape == (2, 8, 4, 4)
    assert torch.equal(out[:, 2:6], maps[:, :, ::2, ::2])
    assert (out[:, :2] == 0).all()
    assert (out[:, 6:] == 0).all()
    assert not [
        name for name, _ in block.named_parameters() if "shortcut" in name or "downsample" in name
    ]


def test_a_block_is_the_formula() -> None:
    torch.manual_seed(0)
    block = BasicBlock(3, 3, stride=1).double().eval()
    maps = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    scale = 1 / (1 + 1e-5) ** 0.5  # a fresh norm layer in eval mode
    inner = (scale * F.conv2d(maps, block.conv1.weight, padding=1)).clamp(min=0)
    expected = (maps + scale * F.conv2d(inner, block.conv2.weight, padding=1)).clamp(min=0)
    torch.testing.assert_close(block(maps), expected)


@pytest.mark.parametrize("depth", [2, 19, 21])
def test_depths_that_are_no_resnet(depth: int) -> None:
    with pytest.raises(
        ConfigError, match=f"depth must be 6 n \\+ 2 with n at least 1, got {depth}"
    ):
        ResNet(
            depth=depth,
            in_channels=3,
            image_size=(32, 32),
            classes=10,
            settings=ResNetSettings(),
        )
