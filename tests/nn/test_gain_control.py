from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from crossed import seldom
from regrow.errors import ConfigError, ShapeError
from regrow.functional import gain_control
from regrow.graph import ChannelNorm
from regrow.nn import GainControl1d, GainControl2d, GainControl3d

# Compiling a Function, and exporting strictly: dynamo makes an instance of the Function for itself.
COMPILES = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script:DeprecationWarning",
    "ignore:.*should not be instantiated:DeprecationWarning",
    "ignore:While compiling, we found certain side effects:UserWarning",  # the shape checks of these tests
)
LAYERS = {1: GainControl1d, 2: GainControl2d, 3: GainControl3d}


def maps(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def mixed(layer: Any) -> Any:
    """With channels that differ."""
    with torch.no_grad():
        for number, name in enumerate(layer.fresh_channel_entries()):
            tensor = getattr(layer, name)
            tensor.add_(maps(layer.channels, seed=number, dtype=tensor.dtype) * 0.3)
    return layer


def test_tensors_have_the_same_names_whatever_is_learnt() -> None:
    learnt = GainControl2d(3)
    fixed = GainControl2d(3, learn_mean_scale=False, learn_gain=False, learn_bias=False)
    assert list(dict(learnt.named_parameters())) == ["mean_scale", "gain", "bias"]
    assert list(fixed.parameters()) == []
    assert set(learnt.state_dict()) == {"mean_scale", "gain", "bias", "start_gain"}
    fixed.load_state_dict(mixed(learnt).state_dict())
    assert torch.equal(fixed(maps(2, 3, 4, 4)), learnt(maps(2, 3, 4, 4)))
    assert set(GainControl2d(3, positive_gain=True).state_dict()) == {
        *("mean_scale", "log_gain", "bias", "start_log_gain")
    }


def test_fresh_channels_follow_the_start_gain() -> None:
    layer = GainControl2d(3, mean_scale=0.5, gain=2.0, bias=0.25)
    assert isinstance(layer, ChannelNorm)
    assert layer.channel_axis == -3
    fresh = {"mean_scale": 0.5, "gain": "start_gain", "bias": 0.25}
    assert layer.fresh_channel_entries() == fresh
    assert layer.start_gain == 2.0
    layer.begin_with_(4.0)
    assert layer.start_gain == 4.0
    assert layer.gain.tolist() == [2.0] * 3
    layer.reset_parameters()
    assert layer.start_gain == 2.0

    positive = GainControl2d(3, gain=2.0, positive_gain=True)
    assert positive.fresh_channel_entries()["log_gain"] == "start_log_gain"
    assert positive.start_log_gain.item() == pytest.approx(math.log(2.0))
    positive.begin_with_(4.0)
    assert positive.start_log_gain.item() == pytest.approx(math.log(4.0))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_shape_and_dtype_against_float64(data: st.DataObject) -> None:
    dims = data.draw(st.integers(1, 3))
    batch = data.draw(st.sampled_from([(), (0,), (1,), (3,)]))
    channels = data.draw(st.integers(1, 5))
    positions = tuple(data.draw(st.integers(1, 6)) for _ in range(dims))
    dtype = data.draw(
        st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])
    )
    relu, positive = data.draw(st.booleans()), data.draw(st.booleans())
    layer = LAYERS[dims](
        channels, relu=relu, positive_gain=positive, single_position="formula", dtype=dtype
    )
    x = (maps(*batch, channels, *positions, seed=1) * 2 + 1).to(dtype)
    y = mixed(layer)(x)
    assert y.dtype == dtype
    assert y.shape == x.shape
    wide = [each.detach().double() for each in (layer.mean_scale, layer.gains(), layer.bias)]
    shaped = [each.reshape(channels, *(1 for _ in range(dims))) for each in wide]
    mean = x.double().mean(tuple(range(-dims, 0)), keepdim=True)
    right = shaped[1] * (x.double() - shaped[0] * mean) + shaped[2]
    right = right.clamp(min=0) if relu else right
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(
        y.double(),
        right,
        rtol=eps,
        atol=32 * max(eps * 0.1, 1e-7) if dtype.itemsize < 4 else 100 * eps,
    )


def test_no_share_and_no_gain_is_the_identity() -> None:
    x = maps(4, 3, 7, 5) * 1e3
    assert torch.equal(GainControl2d(3, mean_scale=0.0)(x), x)
    assert torch.equal(GainControl2d(3, mean_scale=0.0, positive_gain=True)(x), x)


def test_the_whole_share_gives_maps_without_a_mean() -> None:
    x = maps(4, 3, 7, 5)
    layer = GainControl2d(3)
    torch.testing.assert_close(layer(x).mean((2, 3)), torch.zeros(4, 3), rtol=0, atol=1e-6)
    shifted = x + maps(4, 3, 1, 1, seed=3)
    torch.testing.assert_close(layer(shifted), layer(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("relu", [False, True])
def test_training_is_evaluation_and_samples_are_alone(relu: bool) -> None:
    layer = mixed(GainControl2d(6, relu=relu))
    x = maps(9, 6, 13, 11)
    together = layer(x)
    assert torch.equal(layer.eval()(x), together)
    with torch.no_grad():
        assert torch.equal(layer(x), together)
    for number in range(9):
        assert torch.equal(layer(x[number : number + 1])[0], together[number])
        assert torch.equal(layer(x[number]), together[number])
    other = torch.cat((x[:4], maps(5, 6, 13, 11, seed=5)))
    assert torch.equal(layer(other)[:4], together[:4])


def test_what_is_not_finite_stays_in_its_map() -> None:
    layer = mixed(GainControl2d(3))
    x = maps(2, 3, 4, 4)
    clean = layer(x)
    for bad in (float("nan"), float("inf")):
        spoilt = x.clone()
        spoilt[1, 2, 0, 0] = bad
        found = layer(spoilt)
        assert not found[1, 2].isfinite().any()
        same = torch.ones(2, 3, dtype=torch.bool)
        same[1, 2] = False
        assert torch.equal(found[same], clean[same])


def test_single_positions() -> None:
    x = maps(4, 3, 1, 1)
    with pytest.raises(ShapeError, match="single_position='pass_through'"):
        GainControl2d(3)(x)
    passed = mixed(GainControl2d(3, single_position="pass_through"))
    y = passed(x)
    torch.testing.assert_close(y, passed.gain[:, None, None] * x + passed.bias[:, None, None])
    y.sum().backward()
    assert torch.equal(passed.mean_scale.grad, torch.zeros(3))
    wide = maps(4, 3, 2, 2)
    assert not torch.equal(passed(wide), GainControl2d(3, mean_scale=0.0)(wide))
    half = GainControl2d(3, mean_scale=0.5, single_position="formula")
    torch.testing.assert_close(half(x), 0.5 * x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 4, 5, 5), r"must have 3 channels in axis -3, got 4"),
        (
            torch.zeros(2, 3, 5, 5, dtype=torch.int64),
            "must be real floating point numbers, got torch.int64",
        ),
        (torch.zeros(2, 3, 5, 5, dtype=torch.complex64), "must be real floating point"),
        (torch.zeros(2, 3, 0, 5), "at least one position"),
        (torch.zeros(3, 5), "a channel axis and 2 position axes"),
        (torch.zeros(1, 2, 3, 5, 5), "must have 4 axes"),
    ],
)
def test_inputs_that_do_not_fit(x: Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        GainControl2d(3)(x)


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (0, {}, "channels must be a whole number of at least 1, got 0"),
        (2.0, {}, "channels must be a whole number"),
        (True, {}, "channels must be a whole number"),
        (3, {"gain": float("nan")}, "gain must be a finite number"),
        (3, {"mean_scale": "1"}, "mean_scale must be a finite number"),
        (3, {"bias": float("inf")}, "bias must be a finite number"),
        (3, {"gain": 0.0, "positive_gain": True}, "gain must be above 0 with positive_gain=True"),
        (3, {"single_position": "pass"}, "single_position must be 'error', "),
        (3, {"dtype": torch.int32}, "dtype must be real floating point"),
    ],
)
def test_settings_that_cannot_be(channels: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GainControl2d(channels, **options)


def test_copies_and_the_description() -> None:
    layer = mixed(GainControl2d(3, relu=True, learn_gain=False, single_position="formula"))
    x = maps(2, 3, 4, 4)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301
        assert torch.equal(twin(x), layer(x))
        assert twin.fresh_channel_entries() == layer.fresh_channel_entries()
    assert repr(layer) == (
        "GainControl2d(3, mean_scale=1, gain=1, bias=0, learnt=(mean_scale, bias), relu=True, "
        "single_position='formula')"
    )


def test_the_meta_device() -> None:
    layer = GainControl2d(3, device="meta")
    assert layer(torch.empty(2, 3, 4, 4, device="meta")).shape == (2, 3, 4, 4)
    layer.to_empty(device="cpu").reset_parameters()
    assert torch.equal(layer(maps(2, 3, 4, 4)), GainControl2d(3)(maps(2, 3, 4, 4)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_are_worked_out_in_float32(dtype: torch.dtype) -> None:
    x = (maps(2, 3, 64, 64) + 100).to(dtype)
    layer = GainControl2d(3).to(dtype)
    right = (x.float() - x.float().mean((2, 3), keepdim=True)).to(dtype)
    torch.testing.assert_close(layer(x), right, rtol=torch.finfo(dtype).eps, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), GainControl2d(3, relu=True))
        y = net(maps(2, 1, 8, 8))
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert net[1].gain.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("dims", "layout"), [(2, torch.channels_last), (3, torch.channels_last_3d)]
)
@pytest.mark.parametrize("relu", [False, True])
def test_the_memory_format_is_kept(dims: int, layout: torch.memory_format, relu: bool) -> None:
    layer = mixed(LAYERS[dims](3, relu=relu))
    x = maps(2, 3, *(4, 5, 6)[:dims]).to(memory_format=layout).requires_grad_()
    y = layer(x)
    assert y.is_contiguous(memory_format=layout)
    torch.testing.assert_close(y, layer(x.detach().contiguous()))
    (found,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert found.is_contiguous(memory_format=layout)
    one_channel = maps(2, 1, *(4, 5, 6)[:dims]).to(memory_format=layout)
    assert LAYERS[dims](1)(one_channel).stride() == one_channel.stride()


def test_a_layer_behind_may_write_into_the_output() -> None:
    net = nn.Sequential(GainControl2d(3), nn.ReLU(inplace=True))
    x = maps(2, 3, 4, 4).requires_grad_()
    (ours,) = torch.autograd.grad(net(x).sum(), x)
    (right,) = torch.autograd.grad(GainControl2d(3, relu=True)(x).sum(), x)
    torch.testing.assert_close(ours, right)


@pytest.mark.parametrize("relu", [False, True])
def test_transforms(relu: bool) -> None:
    layer = mixed(GainControl2d(3, relu=relu))
    params, buffers = dict(layer.named_parameters()), dict(layer.named_buffers())
    x = maps(4, 3, 6, 5)

    def loss(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(layer, (params, buffers), (x,)).square().sum()

    stacked = {name: torch.stack((each, each * 1.5)).detach() for name, each in params.items()}
    found = vmap(grad(loss), in_dims=(0, None))(stacked, x)
    by_sample = vmap(grad(loss), in_dims=(None, 0))(params, x)
    for index in range(2):
        leaves = {name: each[index].clone().requires_grad_() for name, each in stacked.items()}
        right = torch.autograd.grad(loss(leaves, x), list(leaves.values()))
        for name, each in zip(leaves, right, strict=True):
            torch.testing.assert_close(found[name][index], each)
    total = torch.autograd.grad(loss(params, x), list(params.values()))
    for name, each in zip(params, total, strict=True):
        torch.testing.assert_close(by_sample[name].sum(0), each)


@COMPILES
@pytest.mark.parametrize("strict", [False, True])
def test_export(strict: bool) -> None:
    layer = mixed(GainControl2d(3, relu=True))
    x = maps(2, 3, 4, 4)
    program = torch.export.export(layer, (x,), strict=strict)
    torch.testing.assert_close(program.module()(x), layer(x))


@COMPILES
@pytest.mark.parametrize("backend", seldom(["aot_eager", "inductor"], often=["aot_eager"]))
@pytest.mark.parametrize("relu", seldom([True, False], often=[True]))
@pytest.mark.parametrize(
    "layout",
    seldom([torch.channels_last, torch.contiguous_format], often=[torch.channels_last]),
)
def test_compiled(relu: bool, layout: torch.memory_format, backend: str) -> None:
    layer = mixed(GainControl2d(4, relu=relu))
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    x = maps(3, 4, 8, 8).to(memory_format=layout).requires_grad_()
    come = maps(3, 4, 8, 8, seed=7)
    leaves = [x, *layer.parameters()]
    y = compiled(x)
    torch.testing.assert_close(y, layer(x))
    assert y.is_contiguous(memory_format=layout)
    found = torch.autograd.grad(y, leaves, come)
    for mine, right in zip(found, torch.autograd.grad(layer(x), leaves, come), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), layer(x))


def test_the_layer_is_the_formula() -> None:
    layer = mixed(GainControl3d(3, positive_gain=True, relu=True))
    x = maps(2, 3, 4, 3, 2)
    told = {"mean_scale": layer.mean_scale, "gain": layer.gains(), "bias": layer.bias}
    torch.testing.assert_close(layer(x), gain_control(x, **told, dims=3, relu=True))
