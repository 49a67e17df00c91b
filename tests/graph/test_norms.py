from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from graph.nets import Forward
from regrow.graph import Norm, trace

X = torch.zeros(2, 3, 6, 6)


def norms_of(module: nn.Module, *, count: int = 2) -> tuple[tuple[Norm, ...], str]:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), module, nn.Flatten(), nn.Linear(64, 2))
    layer = trace(net, X[:count])["0"]
    return layer.norms, layer.coupled


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("module", "kind", "statistics"),
    [
        (nn.BatchNorm2d(4), "batch_norm", True),
        (nn.BatchNorm2d(4, track_running_stats=False), "batch_norm", False),
        (nn.InstanceNorm2d(4, affine=True), "instance_norm", False),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), "instance_norm", True),
        (nn.GroupNorm(4, 4), "group_norm", False),
        (nn.GroupNorm(2, 4), "group_norm", False),
    ],
)
def test_every_norm_names_its_entries(
    module: nn.Module,
    kind: str,
    statistics: bool,
    count: int,
) -> None:
    (norm,), _ = norms_of(module, count=count)
    assert (norm.path, norm.kind) == ("1", kind)
    assert (norm.weight, norm.bias) == ("1.weight", "1.bias")
    assert (norm.running_mean is not None) == (norm.running_var is not None) == statistics
    assert norm.channels == ((0,), (1,), (2,), (3,))


def test_a_norm_with_running_statistics_alone_is_named_by_them() -> None:
    (norm,), _ = norms_of(nn.BatchNorm2d(4, affine=False))
    assert (norm.path, norm.weight, norm.running_mean) == ("1", None, "1.running_mean")
    assert norms_of(nn.InstanceNorm2d(4))[0] == ()


@pytest.mark.parametrize(("groups", "said"), [(4, False), (2, True), (1, True)])
def test_group_statistics_are_said_where_they_are_shared(groups: int, said: bool) -> None:
    _, coupled = norms_of(nn.GroupNorm(groups, 4))
    assert coupled == ("shares its group's statistics in native_group_norm in '1'" if said else "")


def test_a_norm_that_sees_two_layers_belongs_to_neither() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        return net.head((net.bn(net.a(x)) + net.bn(net.b(x))).flatten(1))

    net = Forward(
        run,
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(3, 4, 3),
        bn=nn.BatchNorm2d(4),
        head=nn.Linear(64, 2),
    )
    wiring = trace(net, X)
    assert wiring["a"].norms == wiring["b"].norms == ()


def test_a_norm_over_flattened_channels_has_several_entries_a_filter() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 5), nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 2))
    (norm,) = trace(net, X)["0"].norms
    assert norm.channels == ((0, 1, 2, 3), (4, 5, 6, 7))


def test_a_norm_called_as_a_function_is_found() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        y = F.batch_norm(net.conv(x), net.bn.running_mean, net.bn.running_var, net.bn.weight)
        return net.head(y.flatten(1))

    net = Forward(run, conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4), head=nn.Linear(64, 2))
    (norm,) = trace(net, X)["conv"].norms
    assert (norm.path, norm.weight, norm.bias) == ("bn", "bn.weight", None)
