"""Networks as programs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from engine.nets import Crater
from fresh import fresh
from regrow.engine import UnsupportedError, program_of
from regrow.engine.steps import (
    Conv2dStep,
    FlattenStep,
    LayerNormStep,
    LeakyReLUStep,
    LinearStep,
    ReLUStep,
)
from regrow.lab.models.convnet import ConvNet
from regrow.lab.models.cratercnn import CraterCNN
from regrow.lab.models.registry import build
from regrow.lab.models.settings import ConvNetSettings, CraterCNNSettings


def test_a_program_is_the_chain_of_layers() -> None:
    conv1, relu, conv2, relu1, flat, dense, relu2, head = program_of(Crater()).steps
    assert conv1 == Conv2dStep(
        path="conv1", channels=1, filters=5, kernel=(3, 3), padding=(0, 0), bias=True
    )
    assert head == LinearStep(path="head", features=12, filters=3, bias=True)
    assert all(isinstance(each, ReLUStep) for each in (relu, relu1, relu2))
    assert isinstance(conv2, Conv2dStep)
    assert isinstance(flat, FlattenStep)
    assert isinstance(dense, LinearStep)


@pytest.mark.parametrize("norm", ["none", "batch", "gain_control"])
@pytest.mark.parametrize("padding", [0, 1])
def test_the_laboratorys_networks_have_programs(norm: str, padding: int) -> None:
    crater = CraterCNN(
        in_channels=1,
        image_size=(15, 15),
        classes=2,
        settings=CraterCNNSettings(norm=norm, padding=padding),
    )
    assert program_of(crater).dense == ("dense", "head")
    for head in ("flatten", "average"):
        settings = ConvNetSettings(norm=norm, head=head)
        net = ConvNet(in_channels=3, image_size=(9, 9), classes=4, settings=settings)
        assert len(program_of(net).steps) == 6 + 3 * (norm != "none") + 2 + 2 + (head == "average")


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_the_networks_of_streams_have_programs(activation: str) -> None:
    mlp = build(
        "mlp",
        in_channels=1,
        image_size=(4, 4),
        classes=3,
        settings={"norm": "layer", "activation": activation},
        seed=0,
    )
    kind = ReLUStep if activation == "relu" else LeakyReLUStep
    kinds = [FlattenStep, *2 * [LinearStep, LayerNormStep, kind], LinearStep]
    assert [type(step) for step in program_of(mlp).steps] == kinds
    # A layer norm takes the units of a layer together: what each of them gives is what that reads.
    assert program_of(mlp).reader("hidden.dense1") == "hidden.norm1"
    assert program_of(mlp).reader("head") is None
    net = build(
        "stridednet",
        in_channels=3,
        image_size=(16, 16),
        classes=10,
        settings={"activation": activation},
        seed=0,
    )
    program = program_of(net)
    kinds = [*2 * [Conv2dStep, kind], FlattenStep, LinearStep, kind, LinearStep]
    assert [type(step) for step in program.steps] == kinds
    assert program.reader("features.conv2") == "dense"
    assert isinstance(program.steps[0], Conv2dStep)
    assert program.steps[0].stride == (2, 2)


@pytest.mark.parametrize("inplace", [False, True])
def test_a_leaky_relu_may_be_called(inplace: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.leaky_relu(self.dense(x), 0.2, inplace=inplace)

    step = program_of(Net()).steps[1]
    assert isinstance(step, LeakyReLUStep)
    assert step.slope == 0.2


def test_padding_by_name_and_flatten_with_keywords() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, (3, 5), padding="same")

        def forward(self, x: Tensor) -> Tensor:
            return torch.flatten(self.conv(x), start_dim=1)

    step = program_of(Net()).steps[0]
    assert isinstance(step, Conv2dStep)
    assert step.padding == (1, 2)


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + x


class Twice(Skip):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x))


class Branches(Skip):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


class Both(Skip):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        return y, y


class Unused(Skip):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class OneArgument(Skip):
    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.conv(x))


class Subclass(nn.Conv2d):
    pass


def seq(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def shared() -> nn.Module:
    net = seq(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    return net


def frozen() -> nn.Module:
    net = seq(nn.Linear(2, 2))
    net[0].bias.requires_grad_(False)
    return net


def hooked(path: str) -> nn.Module:
    net = seq(seq(nn.Linear(2, 2)))
    net.get_submodule(path).register_forward_hook(lambda *_: None)
    return net


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (seq(nn.Conv2d(1, 1, 3, dilation=2)), "'0': dilation must be"),
        (seq(nn.Conv2d(2, 2, 3, groups=2)), "'0': groups must be 1, got 2"),
        (seq(nn.Conv2d(1, 1, 3, padding_mode="reflect", padding=1)), "'0': padding_mode"),
        (seq(nn.Conv2d(1, 1, 2, padding="same")), "'0': padding 'same' needs odd"),
        (seq(nn.MaxPool2d(3, stride=2)), "'0': kernel and stride"),
        (seq(nn.MaxPool2d(2, ceil_mode=True)), "'0': padding, dilation, ceil_mode"),
        (seq(nn.AdaptiveAvgPool2d(2)), "'0': output_size must be 1"),
        (seq(nn.Flatten(2)), "'0': all axes but the first"),
        (seq(nn.LeakyReLU(-0.1)), "'0': negative_slope must be at least 0, got -0.1"),
        (seq(nn.LayerNorm((2, 3))), r"'0': normalized_shape must be one axis .* got \(2, 3\)"),
        (seq(nn.Linear(2, 2), nn.Dropout()), "'1': Dropout is not among"),
        (seq(seq(Subclass(1, 1, 1))), "'0.0': Subclass is not among"),
        (seq(parametrizations.weight_norm(nn.Linear(2, 2))), "ParametrizedLinear"),
        (Skip(), "'conv': each layer must read"),
        (Twice(), "'conv_1'|'conv': it is called twice"),
        (Branches(), "'Branches': torch.fx cannot trace it"),
        (Both(), "'Both': it must return the logits alone"),
        (OneArgument(), "'flatten': all axes but the first"),
        (Unused(), "'other.weight': the parameter is not used"),
        (shared(), "two of its layers share"),
        (frozen(), "'0.bias': the parameter is frozen"),
        (hooked("0"), "'0': it has hooks"),
        (hooked("0.0"), "'0.0': it has hooks"),
        (nn.Linear(2, 2), "put it into a Sequential"),
        (seq(nn.ReLU()), "it has no parameters"),
        (nn.Bilinear(2, 2, 2), "'Bilinear': it must have one input"),
    ],
)
def test_what_is_no_known_chain_is_refused_by_name(model: nn.Module, told: str) -> None:
    with pytest.raises(UnsupportedError, match=told):
        program_of(model)


def test_the_engine_does_not_import_the_laboratory(tmp_path: Path) -> None:
    told = "import sys, regrow.engine; print(any(name.startswith('regrow.lab') for name in sys.modules))"
    assert fresh(told, folder=tmp_path) == (0, "False\n")
