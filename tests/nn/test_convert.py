"""Every kind of norm for every other: what is replaced, kept, left, and told."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regrow.errors import ConfigError, NoEffectWarning, TraceError
from regrow.nn import GainControl1d, GainControl2d, GainControl3d, convert, convert_


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)
    )


def tree(model: nn.Module) -> list[tuple[str, type[nn.Module]]]:
    return [(path, type(each)) for path, each in model.named_modules(remove_duplicate=False)]


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def test_the_argument_is_not_changed() -> None:
    model = net()
    before, state = tree(model), copy.deepcopy(model.state_dict())
    made = convert(model, example_inputs=torch.randn(2, 3, 8, 8))
    assert tree(model) == before
    assert all(torch.equal(state[name], each) for name, each in model.state_dict().items())
    assert isinstance(made.model.get_submodule("1"), GainControl2d)
    assert made.report.replaced == ("1",)


def test_in_place_the_same_module_is_changed() -> None:
    model = net()
    report = convert_(model)
    assert report.replaced == ("1",)
    assert type(model[1]) is GainControl2d
    again = convert_(model, "gain_control", "batchnorm")
    assert (again.replaced, again.split) == (("1",), {"1": "2"})
    assert tree(model) == tree(net())


@pytest.mark.parametrize(
    ("kind", "layer", "x"),
    [
        (GainControl1d, nn.BatchNorm1d(4), torch.randn(2, 4, 5)),
        (GainControl2d, nn.BatchNorm2d(4), torch.randn(2, 4, 5, 5)),
        (GainControl3d, nn.BatchNorm3d(4), torch.randn(2, 4, 3, 3, 3)),
    ],
)
def test_dimensions_are_found(kind: type[nn.Module], layer: nn.Module, x: Tensor) -> None:
    made = convert(nn.Sequential(layer), example_inputs=x).model
    assert type(made.get_submodule("0")) is kind
    assert made(x).shape == x.shape


@pytest.mark.parametrize("from_", ["batchnorm", "groupnorm", "instancenorm"])
@pytest.mark.parametrize("to", ["batchnorm", "groupnorm", "instancenorm", "gain_control"])
def test_every_kind_becomes_every_other(from_: Any, to: Any) -> None:
    layers: dict[str, nn.Module] = {
        "batchnorm": nn.BatchNorm2d(4),
        "groupnorm": nn.GroupNorm(2, 4),
        "instancenorm": nn.InstanceNorm2d(4, affine=True),
    }
    classes = {
        "batchnorm": nn.BatchNorm2d,
        "groupnorm": nn.GroupNorm,
        "instancenorm": nn.InstanceNorm2d,
        "gain_control": GainControl2d,
    }
    if from_ == to:
        return
    model = nn.Sequential(nn.Conv2d(3, 4, 3), layers[from_], nn.ReLU())
    x = torch.randn(2, 3, 8, 8)
    options = {"num_groups": 2}
    made = convert(model, from_, to, example_inputs=x, **(options if to == "groupnorm" else {}))
    assert type(made.model.get_submodule("1")) is classes[to]
    maps = torch.randn(2, 4, 6, 6)
    new = made.model.get_submodule("1")
    assert torch.equal(new(input=maps), new(maps))  # a forward may call its norm by name
    back = convert(
        made.model, to, from_, example_inputs=x, **(options if from_ == "groupnorm" else {})
    )
    assert tree(back.model) == tree(model)
    assert {**shapes(back.model), **shapes(model)} == shapes(model)
    assert back.model(x).shape == model(x).shape


def test_nothing_in_the_place_of_a_norm() -> None:
    made = convert(net(), to="none").model
    assert type(made.get_submodule("1")) is nn.Identity
    gain = convert(net()).model
    without = convert(gain, "gain_control", "none").model
    assert [type(each) for each in without.children()] == [
        *(nn.Conv2d, nn.Identity, nn.ReLU, nn.Conv2d)
    ]


def test_dtype_mode_and_frozen_parameters_are_kept() -> None:
    model = net().double().eval()
    model[1].weight.requires_grad_(False)
    made = convert(model).model.get_submodule("1")
    assert isinstance(made, GainControl2d)
    assert made.gain.dtype == torch.float64
    assert not made.training
    assert (made.gain.requires_grad, made.mean_scale.requires_grad) == (False, False)
    assert made.bias.requires_grad


def test_meta_device_is_kept() -> None:
    made = convert(net().to("meta")).model.get_submodule("1")
    assert isinstance(made, GainControl2d)
    assert made.gain.is_meta


def test_the_affine_values_are_fresh_or_kept() -> None:
    model = net()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, -2.0, 3.0, 0.5]))
        model[1].bias.copy_(torch.arange(4.0))
    fresh = convert(model).model.get_submodule("1")
    kept = convert(model, keep_affine=True).model
    layer = kept.get_submodule("1")
    assert isinstance(fresh, GainControl2d)
    assert isinstance(layer, GainControl2d)
    assert torch.equal(fresh.gains(), torch.ones(4))
    assert torch.equal(layer.gains(), model[1].weight)
    assert torch.equal(layer.bias, model[1].bias)
    back = convert(kept, "gain_control", "batchnorm", keep_affine=True).model.get_submodule("1")
    assert torch.equal(back.get_parameter("weight"), model[1].weight)
    with pytest.raises(ConfigError, match="scales must be above 0"):
        convert(model, keep_affine=True, positive_gain=True)


def test_a_layer_under_two_names_stays_one() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.BatchNorm2d(3)
            self.other = self.one

        def forward(self, x: Tensor) -> Tensor:
            return self.other(self.one(x) + 1)

    made = convert(Twice(), example_inputs=torch.randn(2, 3, 4, 4))
    assert made.model.one is made.model.other
    assert made.report.replaced == ("one",)
    with pytest.warns(NoEffectWarning):
        left = convert(Twice(), exclude=["other"])
    assert left.report.replaced == ()


def test_features_and_single_positions_are_left() -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.AdaptiveAvgPool2d(1),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        nn.BatchNorm1d(3),
    )
    x = torch.randn(2, 3, 4, 4)
    report = convert(model, example_inputs=x).report
    assert report.replaced == ("0",)
    assert "single position" in report.left["2"]
    assert "no axes of positions" in report.left["4"]
    passing = convert(model, example_inputs=x, single_position="pass_through")
    assert passing.report.replaced == ("0", "2")
    assert passing.model(x).shape == (2, 3)
    unknown = convert(model).report
    assert unknown.replaced == ("0", "2")
    assert "give example_inputs" in unknown.left["4"]


def test_unknown_norms_are_left_and_listed() -> None:
    class MyNorm(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    class Renamed(nn.BatchNorm2d):
        """No forward of its own."""

    model = nn.Sequential(
        *(nn.BatchNorm2d(3), nn.LayerNorm(4), MyNorm(3), Renamed(3)),
        *(nn.GroupNorm(3, 3), nn.LocalResponseNorm(2)),
    )
    report = convert(model).report
    assert report.replaced == ("0", "3")
    assert set(report.left) == {"1", "2", "4", "5"}
    assert "LayerNorm is of no known kind" in report.left["1"]
    assert "forward of its own" in report.left["2"]
    assert "another kind, groupnorm" in report.left["4"]
    assert "LayerNorm is of no known kind (1)" in str(report)


def test_synchronised_batch_norm_needs_an_example_to_know_its_axes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4), nn.ReLU()).eval()
    made = convert(model, example_inputs=torch.randn(2, 3, 8, 8))
    assert made.report.replaced == ("1",)
    assert type(made.model.get_submodule("1")) is GainControl2d
    with pytest.warns(NoEffectWarning, match="give example_inputs"):
        convert(model)


def test_hooked_norms_are_left() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    model[0].register_forward_hook(lambda *_: None)
    report = convert(model).report
    assert report.replaced == ("1",)
    assert "hooks" in report.left["0"]


def test_norms_that_are_also_held_where_no_module_is_registered_are_left() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.free = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), net()
            self.parts = {"all": [self.conv, self.norm]}

        def forward(self, x: Tensor) -> Tensor:
            for part in self.parts["all"]:
                x = part(x)
            return x

    report = convert(Listed(), example_inputs=torch.randn(2, 3, 9, 9)).report
    assert report.replaced == ("free.1",)
    assert "'parts' of the Listed" in report.left["norm"]


def test_patterns_choose() -> None:
    model = nn.ModuleDict({"a": net(), "b": net()})
    assert convert(model, include=["a.*"]).report.replaced == ("a.1",)
    assert convert(model, exclude=["a.*"]).report.replaced == ("b.1",)
    with pytest.raises(ConfigError, match=r"include pattern 'c\.\*' must match a norm layer"):
        convert(model, include=["c.*"])


def test_the_root_can_be_a_norm() -> None:
    assert type(convert(nn.BatchNorm2d(3)).model) is GainControl2d
    with pytest.raises(ConfigError, match="is one itself"):
        convert_(nn.BatchNorm2d(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"from_": "layernorm"}, "from_ must be 'batchnorm', "),
        ({"to": "none", "from_": "none"}, "from_ must be another kind"),
        ({"to": "batchnorm"}, "from_ must be another kind"),
        ({"to": "groupnorm"}, "num_groups is needed"),
        ({"to": "groupnorm", "num_groups": 3}, "options must fit"),
        ({"eps": 1e-3}, "options must fit"),
        ({"mean_scale": float("nan")}, "mean_scale must be a finite number"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], message: str) -> None:
    model = net()
    before = tree(model)
    with pytest.raises(ConfigError, match=message):
        convert_(model, **arguments)
    assert tree(model) == before


def test_wrapped_and_failing_models_are_refused() -> None:
    with pytest.raises(ConfigError, match="must not be wrapped"):
        convert(nn.DataParallel(net()))
    with pytest.raises(ConfigError, match="must have its shape"):
        convert(nn.Sequential(nn.LazyBatchNorm2d()))
    with pytest.raises(TraceError, match="must run on the example inputs"):
        convert(net(), example_inputs=torch.randn(2, 5, 8, 8))


def test_no_norm_at_all_is_a_warning() -> None:
    with pytest.warns(NoEffectWarning, match="the model has no norm layer"):
        convert(nn.Sequential(nn.Conv2d(1, 1, 3)))


def test_flags_statistics_and_random_state_are_left_as_they_were() -> None:
    model = nn.Sequential(net(), nn.Dropout(), nn.BatchNorm2d(2).eval())
    state, x = copy.deepcopy(model.state_dict()), torch.randn(2, 3, 8, 8)
    flags, random = [each.training for each in model.modules()], torch.get_rng_state()
    convert_(model, include=["0.1"], fuse_relu=False, example_inputs=x)
    assert torch.equal(torch.get_rng_state(), random)
    assert [each.training for each in model.modules()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        if not name.startswith("0.1."):
            assert torch.equal(tensor, state[name]), name


def test_a_converted_model_is_pickled_and_copied() -> None:
    made = convert(net()).model
    x = torch.randn(2, 3, 8, 8)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301
        assert torch.equal(other(x), made(x))
        assert tree(convert(other, "gain_control", "batchnorm").model) == tree(net())
