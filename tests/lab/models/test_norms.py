"""The norms of the networks: where they stand, what they learn, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest
import torch
from torch import nn

from regrow.errors import ConfigError
from regrow.lab.models.registry import (
    build,
    check,
    defaults,
    distinguishing,
    names,
    starts_from_data,
)
from regrow.lab.models.settings import Norm, groups_of
from regrow.nn import GainControl2d

CLASSES = {
    "none": nn.Identity,
    "batch": nn.BatchNorm2d,
    "group": nn.GroupNorm,
    "instance": nn.InstanceNorm2d,
    "gain_control": GainControl2d,
}


NORMED = [name for name in names() if name not in {"mlp", "stridednet"}]
"""Networks of dense layers alone have no maps."""


def make(name: str, size: int | tuple[int, int] = 16, **settings: Any) -> nn.Module:
    sides = (size, size) if isinstance(size, int) else size
    return build(name, in_channels=1, image_size=sides, classes=3, settings=settings, seed=3)


def norms_of(model: nn.Module) -> dict[str, nn.Module]:
    kinds = tuple(kind for name, kind in CLASSES.items() if name != "none")
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("norm", [norm for norm in get_args(Norm) if norm != "none"])
def test_a_norm_stands_between_every_convolution_and_its_relu(norm: str) -> None:
    layers = make("convnet", depth=2, width=4, norm=norm).get_submodule("features")
    assert [name for name, _ in layers.named_children()] == [
        *("conv1", "norm1", "relu1", "pool1"),
        *("conv2", "norm2", "relu2", "pool2"),
    ]
    found = norms_of(make("convnet", depth=2, width=4, norm=norm))
    assert {name: type(layer) for name, layer in found.items()} == {
        "features.norm1": CLASSES[norm],
        "features.norm2": CLASSES[norm],
    }
    assert list(norms_of(make("cratercnn", norm=norm))) == ["norm1", "norm2"]


@pytest.mark.parametrize("norm", ["batch", "group", "gain_control"])
def test_a_residual_network_has_the_norm_after_each_convolution_under_the_same_names(
    norm: str,
) -> None:
    model, usual = make("resnet20", norm=norm), make("resnet20")
    assert set(norms_of(model)) == set(norms_of(usual))
    assert Counter(map(type, norms_of(model).values())) == {CLASSES[norm]: 19}


@pytest.mark.parametrize(
    ("settings", "per_channel"),
    [
        ({"norm": "batch"}, 2),
        ({"norm": "group"}, 2),
        ({"norm": "instance"}, 2),
        ({"norm": "gain_control"}, 3),
        ({"norm": "gain_control", "gain_control_learn": "gain"}, 2),
        ({"norm": "gain_control", "gain_control_learn": "bias"}, 1),
    ],
)
@pytest.mark.parametrize(("name", "channels"), [("convnet", 3 * 32), ("cratercnn", 2 * 20)])
def test_what_a_norm_adds_to_the_parameters(
    name: str, channels: int, settings: dict[str, Any], per_channel: int
) -> None:
    assert count(make(name, **settings)) - count(make(name)) == per_channel * channels


def test_what_gain_control_adds_to_a_residual_network() -> None:
    channels = 16 + 6 * (16 + 32 + 64)
    assert count(make("resnet20", norm="gain_control")) - count(make("resnet20")) == channels
    assert count(make("resnet20", norm="group")) == count(make("resnet20"))


@pytest.mark.parametrize("learn", ["all", "gain", "bias"])
def test_what_gain_control_learns_and_where_it_starts(learn: str) -> None:
    model = make("convnet", norm="gain_control", gain_control_learn=learn, mean_scale=0.5)
    layer = norms_of(model)["features.norm1"]
    learnt = {"all": {"mean_scale", "gain", "bias"}, "gain": {"gain", "bias"}, "bias": {"bias"}}
    assert {name for name, _ in layer.named_parameters()} == learnt[learn]
    state = layer.state_dict()
    assert [float(state[name][0]) for name in ("mean_scale", "gain", "bias")] == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("name", NORMED)
def test_norms_share_the_first_weights_of_a_seed(name: str) -> None:
    plain, controlled = make(name), make(name, norm="gain_control")
    layers = [key for key, layer in plain.named_modules() if isinstance(layer, nn.Conv2d)]
    assert layers
    for layer in [*layers, "head"]:
        one, two = plain.get_submodule(layer), controlled.get_submodule(layer)
        assert all(
            torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items()
        )


@pytest.mark.parametrize("norm", ["none", "group", "instance", "gain_control"])
def test_these_norms_are_the_same_in_training_and_evaluation(norm: str) -> None:
    model = make("convnet", depth=2, width=8, norm=norm)
    images = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model.train()(images), model.eval()(images))


def test_gain_control_takes_the_mean_from_each_map() -> None:
    model = make("convnet", depth=2, width=8, norm="gain_control")
    seen: list[torch.Tensor] = []
    for layer in norms_of(model).values():
        layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    images = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    model(images)
    assert len(seen) == 2
    for output in seen:
        zeros = torch.zeros(output.shape[:2])
        torch.testing.assert_close(output.mean(dim=(2, 3)), zeros, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("width", "groups"), [(1, 1), (6, 6), (8, 8), (9, 3), (12, 6), (16, 8), (20, 5), (26, 2)]
)
def test_groups_are_eight_or_the_largest_divisor_below(width: int, groups: int) -> None:
    assert groups_of(width) == groups
    layer = norms_of(make("convnet", width=width, norm="group"))["features.norm1"]
    assert isinstance(layer, nn.GroupNorm)
    assert layer.num_groups == groups


@pytest.mark.parametrize("norm", ["instance", "gain_control"])
def test_maps_of_one_position_are_refused_when_the_network_is_built(norm: str) -> None:
    with pytest.raises(
        ConfigError,
        match=f"norm '{norm}' needs maps of more than one position, and layer norm2 has maps of 1x1",
    ):
        make("cratercnn", 7, norm=norm)
    make("cratercnn", 7, norm="batch")
    make("cratercnn", (7, 8), norm=norm)
    with pytest.raises(ConfigError, match=r"layer features\.norm1 has maps of 1x1"):
        make("convnet", 1, norm=norm)


@pytest.mark.parametrize(("size", "fits"), [(4, False), ((4, 5), True), (5, True)])
def test_a_residual_networks_last_maps_are_checked(size: Any, fits: bool) -> None:
    if not fits:
        with pytest.raises(ConfigError, match=r"layer stage3 has maps of 1x1.*less pooling"):
            make("resnet20", size, norm="gain_control")
        make("resnet20", size)
        return
    images = torch.zeros(1, 1, *((size, size) if isinstance(size, int) else size))
    assert make("resnet20", size, norm="gain_control")(images).shape == (1, 3)


def test_groups_of_one_map_need_more_than_one_position_too() -> None:
    with pytest.raises(ConfigError, match="norm 'group' needs maps of more than one position"):
        make("cratercnn", 7, norm="group", filters=8)
    model = make("cratercnn", 7, norm="group", filters=20)
    assert model(torch.zeros(1, 1, 7, 7)).shape == (1, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"norm": "gain_control", "gain_control_learn": "k"},
            "gain_control_learn: must be one of 'all', 'gain' or 'bias', got 'k'",
        ),
        ({"start_gain": True}, "start_gain needs norm 'gain_control', got norm"),
        ({"norm": "batch", "mean_scale": 0.5}, "mean_scale needs norm 'gain_control', got norm"),
        ({"norm": "group", "gain_control_learn": "gain"}, "gain_control_learn needs norm"),
        ({"norm": "gain_control", "mean_scale": float("inf")}, "mean_scale: must be a finite"),
        ({"norm": "gain_control", "start_gain": 1}, "start_gain: must be true or false"),
    ],
)
@pytest.mark.parametrize("name", NORMED)
def test_settings_that_do_not_fit(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(name, settings)


def test_later_settings_tell_networks_apart_only_where_they_change_something() -> None:
    older = {
        "convnet": {"depth", "width", "norm", "pool", "head", "init"},
        "cratercnn": {"filters", "dense", "kernel", "padding", "norm", "init"},
        **{name: {"width", "init"} for name in ("resnet20", "resnet32", "resnet56")},
    }
    assert set(older) == set(NORMED)
    for name, keys in older.items():
        full = defaults(name)
        assert set(distinguishing(name, full)) == keys
        other = {**full, "norm": "gain_control", "mean_scale": 0.5, "start_gain": True}
        added = {"norm", "mean_scale", "start_gain"}
        assert set(distinguishing(name, other)) == keys | added
    assert distinguishing("package.module:function", {"norm": "batch"}) == {"norm": "batch"}


def test_whose_gains_start_from_data() -> None:
    assert starts_from_data("convnet", {"norm": "gain_control", "start_gain": True})
    assert not starts_from_data("convnet", {"norm": "gain_control"})
    assert not starts_from_data("package.module:function", {"start_gain": True})
