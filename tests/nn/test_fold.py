"""Gains and biases move into neighbouring weights exactly, or stay."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from crossed import crossed
from regrow.errors import TraceError
from regrow.nn import GainControl1d, GainControl2d, GainControl3d, fold

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def drawn(model: nn.Module, *, gain: float = 1.0) -> nn.Module:
    """k, g and b as after training: all different, g above 0 (times `gain`)."""
    torch.manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, GainControl1d | GainControl2d | GainControl3d):
            with torch.no_grad():
                layer.gain.uniform_(0.5, 2.0).mul_(gain)
                layer.bias.normal_()
                layer.mean_scale.mul_(torch.empty_like(layer.bias).uniform_(0.5, 1.0))
    return model


def same(model: nn.Module, x: Tensor) -> nn.Module:
    """Fold, and compare in float64 with more inputs than the example."""
    before = copy.deepcopy(model.state_dict())
    folded = fold(model, x)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert folded.report.largest_difference < 1e-12
    assert folded.report.rounding < 1e-4
    exact = fold(copy.deepcopy(model).double(), x.double()).model
    other = torch.randn(5, *x.shape[1:], dtype=torch.float64)
    torch.testing.assert_close(exact(other), copy.deepcopy(model).double()(other))
    return folded.model


FRONTS: tuple[tuple[nn.Module, nn.Module, tuple[int, ...]], ...] = (
    (nn.Conv2d(4, 6, 3, padding=1), GainControl2d(6), (2, 4, 8, 8)),
    (nn.Conv2d(4, 6, 3, groups=2, bias=False), GainControl2d(6, relu=True), (2, 4, 8, 8)),
    (nn.Conv2d(4, 4, 3, groups=4), GainControl2d(4), (2, 4, 8, 8)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), GainControl2d(6), (2, 4, 5, 5)),
    (nn.ConvTranspose2d(4, 6, 3), GainControl2d(6), (2, 4, 5, 5)),
    (nn.Conv1d(4, 6, 3), GainControl1d(6), (2, 4, 9)),
    (nn.Conv3d(4, 6, 2), GainControl3d(6), (2, 4, 4, 4, 4)),
)


@pytest.mark.parametrize(
    ("conv", "layer", "shape", "gain"),
    crossed([pytest.param(*each) for each in FRONTS], [1.0, -1.0]),
)
def test_the_gain_goes_into_the_convolution_in_front(
    conv: nn.Module, layer: nn.Module, shape: tuple[int, ...], gain: float
) -> None:
    model = drawn(nn.Sequential(copy.deepcopy(conv), copy.deepcopy(layer)), gain=gain)
    made = same(model, torch.randn(*shape))
    assert torch.equal(made.get_submodule("1").gain, torch.ones(layer.channels))
    assert not torch.equal(made.get_submodule("1").bias, torch.zeros(layer.channels))


@pytest.mark.parametrize(("conv", "layer", "shape"), FRONTS)
def test_without_a_mean_the_whole_layer_goes(
    conv: nn.Module, layer: nn.Module, shape: tuple[int, ...]
) -> None:
    model = drawn(nn.Sequential(copy.deepcopy(conv), copy.deepcopy(layer)))
    with torch.no_grad():
        model.get_submodule("1").mean_scale.zero_()
    made = same(model, torch.randn(*shape))
    assert type(made.get_submodule("1")) is (nn.ReLU if layer.relu else nn.Identity)


BEHIND: tuple[tuple[Callable[[], list[nn.Module]], bool], ...] = (
    (lambda: [nn.Conv2d(4, 6, 3)], True),
    (lambda: [nn.Conv2d(4, 6, 3, groups=2, bias=False)], True),
    (lambda: [nn.Conv2d(4, 4, 3, groups=4)], True),
    (lambda: [nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")], True),
    (lambda: [nn.Conv2d(4, 6, 3, padding="valid")], True),
    (lambda: [nn.Conv2d(4, 6, 3, padding=1)], False),
    (lambda: [nn.Conv2d(4, 6, 3, padding="same")], False),
    (lambda: [nn.ConvTranspose2d(4, 6, 3, groups=2)], False),
    (lambda: [nn.MaxPool2d(2), nn.Conv2d(4, 6, 3)], True),
    (lambda: [nn.MaxPool2d(3, padding=1), nn.Conv2d(4, 6, 3)], True),
    (lambda: [nn.AvgPool2d(2), nn.Conv2d(4, 6, 3)], True),
    (lambda: [nn.AvgPool2d(2, padding=1), nn.Conv2d(4, 6, 3)], False),
    (lambda: [nn.ReLU(), nn.Conv2d(4, 6, 3)], False),
    (lambda: [nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)], False),
    (lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False)], True),
    (lambda: [nn.Dropout(), nn.Flatten(), nn.Linear(256, 3)], True),
)


@pytest.mark.parametrize(
    ("parts", "shifts", "relu"),
    crossed([pytest.param(*each) for each in BEHIND], [False, True]),
)
def test_gain_and_bias_go_into_what_is_behind(
    parts: Callable[[], list[nn.Module]], *, shifts: bool, relu: bool
) -> None:
    model = drawn(nn.Sequential(GainControl2d(4, relu=relu), *parts())).eval()
    made = same(model, X)
    layer = made.get_submodule("0")
    assert torch.equal(layer.gain, torch.ones(4))
    assert bool((layer.bias == 0).all()) is (shifts and not relu)


def test_behind_a_relu_only_gains_above_0_go() -> None:
    model = drawn(nn.Sequential(GainControl2d(4, relu=True), nn.Conv2d(4, 6, 3)))
    with torch.no_grad():
        model.get_submodule("0").gain[:2] = torch.tensor([-0.7, 0.0])
    made = same(model, X)
    torch.testing.assert_close(
        made.get_submodule("0").gain.detach(), torch.tensor([-0.7, 0.0, 1.0, 1.0])
    )
    assert "2 channels" in str(fold(model, X).report)


class Wired(nn.Module):
    def __init__(self, forward: Callable[[Wired, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.gain, self.b = nn.Conv2d(4, 4, 3), GainControl2d(4), nn.Conv2d(4, 4, 3)
        self.act = nn.SiLU()
        self.way = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def untouched(forward: Callable[[Wired, Tensor], Tensor]) -> str:
    model = drawn(Wired(forward))
    folded = fold(model, X)
    assert folded.report.folded == {}
    assert all(
        torch.equal(each, model.state_dict()[name])
        for name, each in folded.model.state_dict().items()
    )
    return str(folded.report)


def test_what_something_else_sees_stays() -> None:
    def skips(m: Wired, x: Tensor) -> Tensor:
        y = m.a(x)
        z = m.gain(y) + y
        return m.b(z) + z.mean()

    def reads_twice(m: Wired, x: Tensor) -> Tensor:
        z = m.gain(x)
        return m.b(z) + m.a(z)

    def activates(m: Wired, x: Tensor) -> Tensor:
        return m.b(m.act(m.gain(x)))

    def transposes(m: Wired, x: Tensor) -> Tensor:
        return m.b(m.gain(x).transpose(2, 3))

    def reads_weights_twice(m: Wired, x: Tensor) -> Tensor:
        return m.b(m.b(m.gain(x)))

    assert "left gain: g and b: its output goes to the operation add" in untouched(skips)
    assert "several modules" in untouched(reads_twice)
    assert "SiLU" in untouched(activates)
    assert "another view" in untouched(transposes)
    assert "also called on something else" in untouched(reads_weights_twice)


def test_tied_weights_stay() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1), GainControl2d(4), nn.Conv2d(4, 4, 3, padding=1)
    )
    model[2].weight = model[0].weight
    folded = fold(drawn(model), X)
    assert folded.report.folded == {}


def test_a_linear_layer_over_positions_takes_nothing() -> None:
    folded = fold(drawn(nn.Sequential(GainControl1d(4), nn.Linear(8, 3))), torch.randn(2, 4, 8))
    assert folded.report.folded == {}
    assert "takes its maps in another order" in str(folded.report)


def test_a_network_of_several_layers() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(4, 6, 3), GainControl2d(6, relu=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 8, 3, padding=1), GainControl2d(8), nn.Flatten(), nn.Linear(72, 3)),
    )
    made = same(drawn(model), X)
    assert torch.equal(made.get_submodule("4").bias, torch.zeros(8))
    report = fold(drawn(model), X).report
    assert report.folded == {"1": ("g into 0",), "4": ("g into 3", "b into 6")}
    assert "2 layers folded" in str(report)


def test_what_the_example_does_not_show_is_found() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain, self.conv = GainControl2d(4), nn.Conv2d(4, 4, 1)
            self.count = 0

        def forward(self, x: Tensor) -> Tensor:
            y = self.gain(x)
            self.count += 1
            return self.conv(y) if self.count % 3 == 2 else self.conv(y) + y

    with pytest.raises(TraceError, match="differs by"):
        fold(drawn(Branches()), X)


def test_mistakes_are_told() -> None:
    with pytest.raises(TraceError, match="must have a gain control layer"):
        fold(nn.Conv2d(4, 4, 3), X)
    with pytest.raises(TraceError, match="must not be wrapped"):
        fold(nn.DataParallel(nn.Sequential(GainControl2d(4))), X)
