"""Gains that one batch sets: every map begins with the spread that was asked for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from crossed import crossed, pairs
from regrow.errors import ConfigError, TraceError
from regrow.nn import GainControl1d, GainControl2d, set_start_gain_


def deep(layers: int = 6, *, width: int = 8, relu: bool = True, **options: object) -> nn.Sequential:
    parts: list[nn.Module] = []
    for index in range(layers):
        conv = nn.Conv2d(3 if index == 0 else width, width, 3, padding=1, bias=False)
        parts += [conv, GainControl2d(width, relu=relu, **options)]  # pyright: ignore[reportArgumentType]
    return nn.Sequential(*parts)


def spreads(net: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The standard deviation of each channel in front of the ReLU, by an own run."""
    found: list[Tensor] = []
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, GainControl2d):
                mean = layer.mean_scale.view(-1, 1, 1) * x.mean((2, 3), keepdim=True)
                y = layer.gains().view(-1, 1, 1) * (x - mean)
                found.append(y.transpose(0, 1).flatten(1).std(1, correction=0))
            x = layer(x)
    return found


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("learn_gain", "positive_gain", "mean_scale"),
    crossed(pairs([False, True], [False, True]), [0.0, 0.5, 1.0]),
)
def test_every_map_gets_the_spread(
    mean_scale: float, *, relu: bool, positive_gain: bool, learn_gain: bool
) -> None:
    net = deep(
        relu=relu,
        mean_scale=mean_scale,
        positive_gain=positive_gain,
        learn_gain=learn_gain,
        bias=0.25,
    ).double()
    x = torch.randn(16, 3, 9, 9, dtype=torch.float64)
    assert all(bool((each < 0.9).all()) for each in spreads(net, x)[1:])
    set_start_gain_(net, x, target=1.5)
    for each in spreads(net, x):
        torch.testing.assert_close(each, torch.full_like(each, 1.5))
    assert all(bool((layer.bias == 0.25).all()) for layer in net[1::2])
    assert all(layer.relu is relu for layer in net[1::2])


def test_one_gain_a_layer_keeps_the_proportions() -> None:
    net = deep(2, relu=False).double()
    x = torch.randn(16, 3, 9, 9, dtype=torch.float64)
    before = spreads(net, x)[0]
    set_start_gain_(net, x, per_channel=False)
    after = spreads(net, x)[0]
    torch.testing.assert_close(after / after[0], before / before[0])
    torch.testing.assert_close(after.square().mean(), torch.ones((), dtype=torch.float64))
    assert len(net[1].gains().unique()) == 1


def test_a_fresh_channel_gets_the_mean() -> None:
    net = deep(2)
    report = set_start_gain_(net, torch.randn(16, 3, 9, 9))
    for layer, told in zip(net[1::2], report.layers, strict=True):
        mean = layer.gains().detach().mean()
        torch.testing.assert_close(layer.start_gain, mean)
        assert told.mean == pytest.approx(float(mean))


@pytest.mark.parametrize("positive_gain", [False, True])
def test_silent_channels_keep_their_gain(*, positive_gain: bool) -> None:
    net = deep(1, gain=3.0, positive_gain=positive_gain)
    with torch.no_grad():
        net[0].weight[2] = 0.0
        net[0].weight[5] = 0.0
        net[0].register_parameter("bias", nn.Parameter(torch.zeros(8)))
        net[0].bias[5] = 1e3  # a constant map: minus its mean, rounding is left
    name = "log_gain" if positive_gain else "gain"
    before = getattr(net[1], name).detach().clone()
    report = set_start_gain_(net, torch.randn(16, 3, 9, 9))
    assert report.layers[0].silent == (2, 5)
    after = getattr(net[1], name).detach()
    assert torch.equal(after[[2, 5]], before[[2, 5]])
    assert "silent: 2, 5" in str(report)


def test_rounding_is_no_spread() -> None:
    net, x = GainControl2d(2), torch.randn(16, 2, 9, 9)
    x[:, 0] = 333.3333 * (1 + 0.013 * torch.arange(16.0)).view(-1, 1, 1)  # a constant a sample
    assert 0 < float(net(x)[:, 0].std().detach()) < 1e-3
    report = set_start_gain_(net, x)
    assert report.layers[0].silent == (0,)
    assert net.gains()[0] == 1


def test_nothing_but_silent_channels() -> None:
    net = deep(1)
    with torch.no_grad():
        net[0].weight.zero_()
    for per_channel in (True, False):
        report = set_start_gain_(net, torch.randn(4, 3, 9, 9), per_channel=per_channel)
        assert report.layers[0].mean is None
        assert torch.equal(net[1].gains(), torch.ones(8))
        assert net[1].start_gain == 1


def test_a_negative_gain_stays_negative() -> None:
    net = deep(1)
    with torch.no_grad():
        net[1].gain[3] = -2.0
    set_start_gain_(net, torch.randn(4, 3, 9, 9))
    assert (net[1].gain < 0).tolist() == [index == 3 for index in range(8)]
    assert net[1].start_gain > 0


def test_all_else_is_left_as_it_was() -> None:
    net = nn.Sequential(*deep(2), nn.BatchNorm2d(8), nn.Dropout()).train()
    net[0].eval()
    state, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    flags = [each.training for each in net.modules()]
    x = torch.randn(4, 3, 9, 9)
    random = torch.get_rng_state()
    set_start_gain_(net, x)
    assert torch.equal(torch.get_rng_state(), random)
    assert [each.training for each in net.modules()] == flags
    assert all(each.grad is None and each.grad_fn is None for each in net.parameters())
    changed = {n for n, each in net.state_dict().items() if not torch.equal(each, state[n])}
    assert changed == {"1.gain", "1.start_gain", "3.gain", "3.start_gain"}
    assert not any(each._forward_pre_hooks for each in net.modules())


def test_the_order_is_that_of_the_run() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = GainControl2d(3, relu=True)
            self.first = GainControl2d(3, relu=True)
            self.never = GainControl2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    net = Backwards()
    x = 7 * torch.randn(8, 3, 9, 9)
    report = set_start_gain_(net, x)
    assert [layer.path for layer in report.layers] == ["first", "last"]
    assert report.unreached == ("never",)
    assert float(net(x).std().detach()) == pytest.approx(0.6, abs=0.2)


def test_a_layer_that_runs_twice_is_set_once() -> None:
    layer = GainControl1d(3)
    net = nn.Sequential(layer, layer)
    x = 5 * torch.randn(8, 3, 20)
    report = set_start_gain_(net, x)
    assert len(report.layers) == 1
    torch.testing.assert_close(
        layer(x).transpose(0, 1).flatten(1).std(1, correction=0), torch.ones(3)
    )


def test_single_positions_that_pass_through() -> None:
    net = GainControl2d(3, single_position="pass_through")
    x = 3 * torch.randn(64, 3, 1, 1)
    set_start_gain_(net, x)
    torch.testing.assert_close(net(x).flatten(1).std(0, correction=0), torch.ones(3))


def test_a_layer_sees_what_it_takes_by_name_and_behind_hooks() -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = GainControl2d(3)

        def forward(self, image: Tensor, *, size: float) -> Tensor:
            return self.norm(input=size * image)

    net = ByName()
    net.norm.register_forward_pre_hook(
        lambda _, args, named: (args, {"input": 2 * named["input"]}), with_kwargs=True
    )
    x = torch.randn(8, 3, 9, 9)
    set_start_gain_(net, {"image": x, "size": 5.0})
    y = net(x, size=5.0)
    torch.testing.assert_close(y.transpose(0, 1).flatten(1).std(1, correction=0), torch.ones(3))
    assert len(net.norm._forward_pre_hooks) == 1  # pyright: ignore[reportPrivateUsage]


def test_in_inference_mode_a_model_may_write_into_its_input() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), *deep(2, learn_gain=False))
    x = torch.randn(8, 3, 9, 9)
    with torch.inference_mode():
        set_start_gain_(net, x)
    for each in spreads(net[1:], x.relu()):
        torch.testing.assert_close(each, torch.ones(8))


def test_computed_gains_are_refused() -> None:
    class Positive(nn.Module):
        def forward(self, gain: Tensor) -> Tensor:
            return gain.abs()

    net = deep(1)
    nn.utils.parametrize.register_parametrization(net[1], "gain", Positive())
    with pytest.raises(TraceError, match="the gains of '1' must be a tensor of its own, and are c"):
        set_start_gain_(net, torch.randn(4, 3, 9, 9))


def test_mistakes_are_told_and_change_nothing() -> None:
    net = deep(3, positive_gain=True)
    with torch.no_grad():
        net[1].log_gain.copy_(torch.linspace(-1, 1, 8))
    before = copy.deepcopy(net.state_dict())
    bad = torch.randn(4, 3, 9, 9)
    with pytest.raises(ConfigError, match="target must be above 0"):
        set_start_gain_(net, bad, target=0.0)
    with torch.no_grad():
        net[2].weight[0, 0, 0, 0] = torch.inf
    with pytest.raises(TraceError, match="what comes to '3' is not"):
        set_start_gain_(net, bad)
    with pytest.raises(TraceError, match="must run on the inputs"):
        set_start_gain_(net, torch.randn(4, 5, 9, 9))
    with pytest.raises(TraceError, match="must hold examples, and none come to '1'"):
        set_start_gain_(net, bad[:0])
    with pytest.raises(TraceError, match="must have a gain control layer"):
        set_start_gain_(nn.Conv2d(3, 3, 3), bad)
    after = net.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after if name != "2.weight")


def test_a_plain_deep_network_has_signal_and_gradient_at_the_start() -> None:
    net = deep(30)
    x = torch.randn(8, 3, 9, 9)
    dead = float(net(x).std().detach())
    set_start_gain_(net, x)
    out = net(x)
    out.square().mean().backward()
    assert dead < 1e-6
    assert 0.1 < float(out.std().detach()) < 10
    first = net[0].weight.grad
    assert first is not None
    assert 1e-3 < float(first.norm()) < 1e3
