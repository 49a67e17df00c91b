"""ReLUs become part of gain control, and biases go, exactly where that changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regrow.nn import GainControl2d, convert
from regrow.nn.norm_act import FusedReLU

Forward = Callable[["Block", Tensor], Tensor]


class Block(nn.Module):
    """One convolution, one norm and a ReLU, wired by a function."""

    def __init__(self, wiring: Forward, *, inplace: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=inplace)
        self.drop = nn.Dropout()
        self.noise = nn.Identity()
        self.wiring = wiring
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.wiring(self, x)


def plain(b: Block, x: Tensor) -> Tensor:
    return b.relu(b.norm(b.conv(x)))


def through_an_identity(b: Block, x: Tensor) -> Tensor:
    return b.relu(b.noise(b.norm(b.conv(x))))


def in_a_view(b: Block, x: Tensor) -> Tensor:
    y = b.norm(b.conv(x))
    return b.relu(y.view(y.shape))


def twice(b: Block, x: Tensor) -> Tensor:
    return b.relu(b.norm(b.conv(x))) + b.relu(b.norm(b.conv(x + 1)))


def with_a_skip(b: Block, x: Tensor) -> Tensor:
    y = b.norm(b.conv(x))
    return b.relu(y) + y


def skip_read_before(b: Block, x: Tensor) -> Tensor:
    y = b.norm(b.conv(x))
    return y.mean() + b.relu(y)


def skip_through_a_view(b: Block, x: Tensor) -> Tensor:
    y = b.norm(b.conv(x))
    return b.relu(y).flatten(1).sum(1) + y.flatten(1)[:, 0]


def relu_on_something_else(b: Block, x: Tensor) -> Tensor:
    return b.relu(b.relu(b.norm(b.conv(x))) - 1)


def relu_on_a_part(b: Block, x: Tensor) -> Tensor:
    return b.relu(b.norm(b.conv(x))[:, :2])


def relu_on_a_transposed_view(b: Block, x: Tensor) -> Tensor:
    return b.relu(b.norm(b.conv(x)).transpose(2, 3)).sum(2)


def dropped_in_between(b: Block, x: Tensor) -> Tensor:
    return b.relu(b.drop(b.norm(b.conv(x))) - 0)


def dropped_by_a_module(b: Block, x: Tensor) -> Tensor:
    return b.relu(b.drop(b.norm(b.conv(x))))


def skip_in_training_only(b: Block, x: Tensor) -> Tensor:
    y = b.norm(b.conv(x))
    return b.relu(y) + (y.mean() if b.training else 0)


def a_function(b: Block, x: Tensor) -> Tensor:
    return functional.relu(b.norm(b.conv(x)))


def also_given(b: Block, x: Tensor) -> Tensor:
    y = b.norm(b.conv(x))
    return torch.stack([b.relu(y), y])


def changed_in_place_first(b: Block, x: Tensor) -> Tensor:
    y = b.norm(b.conv(x))
    y += 1
    return b.relu(y)


EXACT = (plain, through_an_identity, in_a_view, twice)
NOT_EXACT = (
    *(with_a_skip, skip_read_before, skip_through_a_view, relu_on_something_else),
    *(relu_on_a_part, relu_on_a_transposed_view, dropped_in_between, dropped_by_a_module),
    *(skip_in_training_only, a_function, also_given, changed_in_place_first),
)
IN_PLACE = (plain, through_an_identity, in_a_view, twice)


def same_function(block: Block) -> tuple[nn.Module, nn.Module, Tensor]:
    """Converted with and without fusing, disturbed alike, and run."""
    x = torch.randn(3, 3, 7, 7)
    fused = convert(block, example_inputs=x, bias=-0.1)
    apart = convert(block, example_inputs=x, bias=-0.1, fuse_relu=False)
    assert apart.report.fused == {}
    for mode in (True, False):
        for each in (fused.model, apart.model):
            each.train(mode)
        torch.manual_seed(0)
        one = fused.model(x)
        torch.manual_seed(0)
        assert torch.equal(one, apart.model(x))
    return fused.model, apart.model, x


@pytest.mark.parametrize("wiring", EXACT, ids=lambda each: each.__name__)
@pytest.mark.parametrize("inplace", [False, True])
def test_fused_where_it_is_exact(wiring: Forward, *, inplace: bool) -> None:
    block = Block(wiring, inplace=inplace)
    report = convert(block, example_inputs=torch.randn(2, 3, 7, 7)).report
    assert report.fused == {"norm": "relu"}
    fused, apart, x = same_function(block)
    fused(x).sum().backward()
    apart(x).sum().backward()
    for one, other in zip(fused.parameters(), apart.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad)
    assert type(fused.relu) is FusedReLU
    assert fused.norm.relu
    back = convert(fused, "gain_control", "batchnorm").model
    assert type(back.relu) is nn.ReLU
    assert back.relu.inplace is inplace


@pytest.mark.parametrize("wiring", NOT_EXACT, ids=lambda each: each.__name__)
def test_not_fused_where_it_is_not(wiring: Forward) -> None:
    block = Block(wiring)
    report = convert(block, example_inputs=torch.randn(2, 3, 7, 7)).report
    assert report.fused == {}
    assert report.not_fused["norm"]
    same_function(block)


def test_an_output_that_is_the_models_is_not_fused() -> None:
    def both(b: Block, x: Tensor) -> Tensor:
        y = b.norm(b.conv(x))
        return (b.relu(y), y)  # pyright: ignore[reportReturnType]

    report = convert(Block(both), example_inputs=torch.randn(2, 3, 7, 7)).report
    assert "the model's" in report.not_fused["norm"]


def test_without_a_run_only_neighbours_in_a_sequential_are_fused() -> None:
    assert convert(Block(plain)).report.fused == {}
    assert "give example_inputs" in convert(Block(plain)).report.not_fused["norm"]
    inside = nn.Sequential(nn.BatchNorm2d(3), nn.Identity(), nn.ReLU(), nn.BatchNorm2d(3))
    assert convert(inside).report.fused == {"0": "2"}
    shared = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3))
    shared.append(shared[1])
    assert convert(shared).report.fused == {}

    class Reversed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for each in reversed(self):
                x = each(x)
            return x

    assert convert(Reversed(nn.BatchNorm2d(3), nn.ReLU())).report.fused == {}


def test_a_model_that_trains_otherwise_than_it_runs_is_fused_by_order_only() -> None:
    def only_evaluated(b: Block, x: Tensor) -> Tensor:
        if b.training:
            raise RuntimeError("no training here")
        return plain(b, x)

    report = convert(Block(only_evaluated), example_inputs=torch.randn(2, 3, 7, 7)).report
    assert report.fused == {}
    assert "no training here" in report.not_fused["norm"]


def test_hooked_relus_are_not_fused() -> None:
    block = Block(plain)
    block.relu.register_forward_hook(lambda *_: None)
    report = convert(block, example_inputs=torch.randn(2, 3, 7, 7)).report
    assert "hooks" in report.not_fused["norm"]


def test_other_activations_stay() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.LeakyReLU(), nn.BatchNorm2d(3), nn.ReLU6())
    report = convert(model).report
    assert report.fused == {}
    assert "LeakyReLU" in report.not_fused["0"]


def test_a_fused_relu_of_nobody_comes_back_beside_the_norm() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), GainControl2d(4, relu=True))
    made = convert(model, "gain_control", "batchnorm")
    assert made.report.split == {"1": "1.1"}
    assert [type(each) for each in made.model.get_submodule("1").children()] == [
        *(nn.BatchNorm2d, nn.ReLU)
    ]


def test_a_bias_goes_where_it_cancels() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    made = convert(model.double(), learn_mean_scale=False)
    assert made.report.dropped_biases == ("0",)
    assert made.model.get_submodule("0").bias is None
    whole = copy.deepcopy(made.model)
    whole.get_submodule("0").register_parameter("bias", nn.Parameter(torch.randn(4).double()))
    torch.testing.assert_close(whole(x), made.model(x))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "stays 1"),
        ({"learn_mean_scale": False, "mean_scale": 0.5}, "stays 1"),
        ({"learn_mean_scale": False, "single_position": "pass_through"}, "single position"),
    ],
)
def test_a_bias_stays_where_it_does_not_cancel(options: dict[str, object], reason: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    report = convert(model, **options).report
    assert report.dropped_biases == ()
    assert reason in report.kept_biases["0"]


def test_a_bias_that_something_else_sees_stays() -> None:
    def seen(b: Block, x: Tensor) -> Tensor:
        y = b.conv(x)
        return b.norm(y) + y

    made = convert(Block(seen), example_inputs=torch.randn(2, 3, 7, 7), learn_mean_scale=False)
    assert made.report.dropped_biases == ()
    assert made.model.conv.bias is not None


def test_a_relu_that_also_runs_without_the_norm_in_front_stays() -> None:
    class Later(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
            self.used = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(self.members[1](x * 1))

    x = torch.randn(2, 3, 7, 7)
    made = convert(Later(), example_inputs=x)
    assert made.report.replaced == ("members.0", "used")
    assert "and what is behind it did" in made.report.not_fused["members.0"]
    torch.testing.assert_close(made.model(x), GainControl2d(3)(x.relu()))


def test_a_bias_stays_in_a_convolution_with_a_forward_of_its_own() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    plain_forward = model[0].forward
    model[0].forward = lambda x: plain_forward(x).relu()
    report = convert(model, learn_mean_scale=False).report
    assert report.dropped_biases == ()
    assert "a class of its own" in report.kept_biases["0"]
