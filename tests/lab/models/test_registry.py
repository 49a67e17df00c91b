"""Every network: seeds, sizes, settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from crossed import crossed
from regrow.draw.initialisers import resolve_initialiser
from regrow.errors import ConfigError, UnknownNameError
from regrow.lab.models.registry import build, check, defaults, names, recorded_init, summary


def make(name: str, *, seed: int = 0, **changes: Any) -> torch.nn.Module:
    options: dict[str, Any] = {
        "in_channels": 1,
        "image_size": (15, 15),
        "classes": 3,
        "settings": {},
    }
    return build(name, **(options | changes), seed=seed)


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return list(model.state_dict().values())


@pytest.mark.parametrize("name", names())
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = weights(make(name, seed=5))
    torch.manual_seed(2)
    again, other = weights(make(name, seed=5)), weights(make(name, seed=6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", names())
def test_the_global_generator_is_untouched(name: str) -> None:
    torch.manual_seed(9)
    before = torch.get_rng_state()
    make(name)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_is_put_back_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ConfigError):
        make("cratercnn", image_size=(3, 3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    crossed(names(), [pytest.param(1, (8, 8)), pytest.param(3, (15, 17))]),
)
def test_logits_and_gradients_reach_every_parameter(
    name: str, channels: int, size: tuple[int, int]
) -> None:
    model = make(name, in_channels=channels, image_size=size)
    assert model.training
    images = torch.randn(4, channels, *size, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    assert logits.shape == (4, 3)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", names())
def test_defaults_pass_the_check_and_the_initialiser_is_one_that_attach_knows(name: str) -> None:
    assert summary(name)
    check(name, defaults(name))
    init = recorded_init(name, {})
    assert init == defaults(name)["init"]
    resolve_initialiser(init, weight=torch.empty(4, 2, 3, 3), where=name)
    assert recorded_init(name, {"init": "normal:0.02"}) == "normal:0.02"


def test_unknown_names_and_settings() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown model 'cratercn' \(did you mean 'cratercnn'\?\)"
    ):
        check("cratercn", {})
    with pytest.raises(UnknownNameError, match="model resnet20: unknown setting 'depth'"):
        make("resnet20", settings={"depth": 20})
    with pytest.raises(
        ConfigError, match=r"model '\.:make' must be one of convnet.* or package\.module:function"
    ):
        check(".:make", {})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cratercnn", {"filters": 0}, "model cratercnn: filters: must be at least 1, got 0"),
        ("cratercnn", {"dense": 0}, "dense: must be at least 1"),
        ("cratercnn", {"kernel": 0}, "kernel: must be at least 1"),
        ("cratercnn", {"padding": -1}, "padding: must be at least 0"),
        (
            "cratercnn",
            {"norm": "layer"},
            "norm: must be one of 'none', 'batch', 'group', 'instance' or 'gain_control', got 'layer'",
        ),
        (
            "resnet20",
            {"norm": "none"},
            "norm: must be one of 'batch', 'group' or 'gain_control', got 'none'",
        ),
        ("cratercnn", {"filters": "20"}, "filters: must be a whole number"),
        ("convnet", {"depth": 0}, "depth: must be at least 1"),
        ("convnet", {"width": 0}, "width: must be at least 1"),
        ("convnet", {"pool": 1}, "pool: must be true or false"),
        ("convnet", {"kernel": 4}, "kernel must be odd, got 4"),
        ("convnet", {"kernel": -1}, "kernel: must be at least 1, got -1"),
        ("convnet", {"pool_size": 4}, "pool_size: must be one of 2 or 3, got 4"),
        ("convnet", {"pool_size": 3, "pool": False}, "pool_size needs pool = true, got 3"),
        ("convnet", {"init": "trunc_normal:0.1:"}, "needs a number above 0 after the colon"),
        ("convnet", {"init": "trunc_normal:0.1:inf"}, "needs a number above 0 after the colon"),
        ("convnet", {"init": "normal:0.1:0.2"}, "needs a number above 0 after the colon"),
        ("convnet", {"head": "max"}, "head: must be one of 'flatten' or 'average'"),
        ("mlp", {"norm": "batch"}, "norm: must be one of 'none' or 'layer', got 'batch'"),
        ("mlp", {"activation": "elu"}, "activation: must be one of 'relu' or 'leaky_relu'"),
        ("stridednet", {"kernel": 4}, "kernel must be odd, got 4"),
        ("stridednet", {"stride": 0}, "stride: must be at least 1, got 0"),
        ("resnet20", {"width": 0}, "width: must be at least 1"),
        (
            "resnet20",
            {"init": "he"},
            "init: must be one of torch_default, .*uniform:BOUND.* got 'he'",
        ),
        ("resnet20", {"init": "uniform"}, "init: 'uniform' needs a number above 0 after the colon"),
        ("resnet20", {"init": "normal:0"}, "needs a number above 0"),
        ("resnet20", {"init": "normal:nan"}, "needs a number above 0"),
        ("resnet20", {"init": "orthogonal:2"}, "init: must be one of"),
    ],
)
def test_settings_out_of_range(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(name, settings)
    with pytest.raises(ConfigError, match=message):
        recorded_init(name, settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 0}, r"in_channels must be at least 1, got 0 \(model convnet\)"),
        ({"image_size": (0, 8)}, "image height must be at least 1"),
        ({"image_size": (8, 0)}, "image width must be at least 1"),
        ({"classes": 0}, "classes must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_sizes_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("convnet", **changes)
