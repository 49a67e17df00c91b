from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from regrow.graph.ledger import Ledger
from regrow.graph.record import Record
from regrow.graph.twin import Twin
from regrow.graph.undisturbed import RunningModule
from regrow.graph.weights import own_name, path_of, weight_use


def seen(net: nn.Module, make: Callable[[nn.Module], Tensor]) -> tuple[Record, Tensor]:
    """What a trace knows of a tensor that is made from a module's own."""
    parameters = dict(net.named_parameters())
    record = Record(
        ledger=Ledger({**dict(net.named_buffers()), **parameters}), parameters=frozenset(parameters)
    )
    with torch.no_grad(), Twin(record, RunningModule(nn.Identity())):
        return record, make(net)


@pytest.mark.parametrize(
    ("make", "axes", "filters", "inputs", "whole"),
    [
        (lambda net: net.weight, (0, 1), [0, 1, 2, 3], [0, 1, 2], True),
        (lambda net: net.weight.detach().clone(), (0, 1), [0, 1, 2, 3], [0, 1, 2], True),
        (lambda net: net.weight.to(torch.bfloat16), (0, 1), [0, 1, 2, 3], [0, 1, 2], True),
        (lambda net: net.weight.t(), (1, 0), [0, 1, 2, 3], [0, 1, 2], True),
        (lambda net: net.weight.t().contiguous(), (1, 0), [0, 1, 2, 3], [0, 1, 2], True),
        (lambda net: net.weight.t().double().t(), (0, 1), [0, 1, 2, 3], [0, 1, 2], True),
        (lambda net: net.weight[:, :, None, None], (0, 1), [0, 1, 2, 3], [0, 1, 2], True),
        (lambda net: net.weight.expand(2, 4, 3), (1, 2), [0, 1, 2, 3], [0, 1, 2], False),
        (lambda net: net.weight[1:3], (0, 1), [1, 2], [0, 1, 2], False),
        (lambda net: net.weight[:, [2, 0]], (0, 1), [0, 1, 2, 3], [2, 0], False),
        (lambda net: net.weight.flip(0), (0, 1), [3, 2, 1, 0], [0, 1, 2], False),
    ],
)
def test_a_weight_is_recognised_on_its_way(
    make: Callable[[nn.Module], Tensor],
    axes: tuple[int, int],
    filters: list[int],
    inputs: list[int],
    whole: bool,
) -> None:
    record, tensor = seen(nn.Linear(3, 4), make)
    use = weight_use(record, tensor, filter_axis=axes[0], input_axis=axes[1])
    assert use is not None
    assert (use.name, use.filters.tolist(), use.inputs.tolist()) == ("weight", filters, inputs)
    assert use.whole == whole


@pytest.mark.parametrize(
    "make",
    [
        lambda net: net.weight * 1,
        lambda net: torch.cat([net.weight, net.weight.new_zeros(1, 3)]),
        lambda net: net.weight.reshape(2, 6),
        lambda net: net.weight.view(2, 6).t(),
        lambda net: torch.eye(3),
        lambda net: net.bias[:, None],
    ],
    ids=[
        "computed",
        "with zeros",
        "reshaped",
        "reshaped and turned",
        "foreign",
        "a bias",
    ],
)
def test_what_is_no_weight_is_not_recognised(make: Callable[[nn.Module], Tensor]) -> None:
    record, tensor = seen(nn.Linear(3, 4), make)
    assert weight_use(record, tensor, filter_axis=0, input_axis=1) is None


@pytest.mark.parametrize(
    ("make", "axes", "filters", "inputs", "whole"),
    [
        (lambda net: net.weight, (1, 0), [0, 1, 2], [0, 1, 2, 3], True),
        (lambda net: net.weight.t(), (0, 1), [0, 1, 2], [0, 1, 2, 3], True),
        (lambda net: net.weight.double(), (1, 0), [0, 1, 2], [0, 1, 2, 3], True),
        (lambda net: net.weight[None], (2, 1), [0, 1, 2], [0, 1, 2, 3], True),
        (lambda net: net.weight[:, 1:], (1, 0), [1, 2], [0, 1, 2, 3], False),
        (lambda net: net.weight[[2, 0]], (1, 0), [0, 1, 2], [2, 0], False),
    ],
)
def test_columns_are_recognised_too(
    make: Callable[[nn.Module], Tensor],
    axes: tuple[int, int],
    filters: list[int],
    inputs: list[int],
    whole: bool,
) -> None:
    """``x @ weight`` makes a filter of each column."""
    record, tensor = seen(nn.Linear(3, 4), make)
    use = weight_use(record, tensor, filter_axis=axes[0], input_axis=axes[1])
    assert use is not None
    assert (use.filters.tolist(), use.inputs.tolist()) == (filters, inputs)
    assert (use.columns, use.whole) == (True, whole)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (4, 4)])
def test_sides_of_any_length_are_told_apart(shape: tuple[int, int]) -> None:
    net = nn.Module()
    net.weight = nn.Parameter(torch.zeros(shape))
    for columns, axes in ((False, (0, 1)), (True, (1, 0))):
        for make in (lambda net: net.weight, lambda net: net.weight.double()):
            record, tensor = seen(net, make)
            use = weight_use(record, tensor, filter_axis=axes[0], input_axis=axes[1])
            assert use is not None
            assert use.columns == columns
            assert len(use.filters) == shape[axes[0]]


def test_a_kernel_as_a_matrix_keeps_its_channels() -> None:
    record, tensor = seen(nn.Conv2d(2, 3, 2), lambda net: net.weight.reshape(3, -1))
    use = weight_use(record, tensor, filter_axis=0, input_axis=1)
    assert use is not None
    assert use.inputs.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert not use.whole


def test_norm_tensors_are_recognised_through_copies() -> None:
    record, tensor = seen(nn.BatchNorm2d(3), lambda net: net.running_var.repeat(2))
    found = own_name(record, tensor)
    assert found is not None
    assert (found[0], found[1].tolist()) == ("running_var", [0, 1, 2, 0, 1, 2])
    assert own_name(record, torch.ones(3)) is None
    assert own_name(record, None) is None


def test_parameters_that_share_memory_go_by_the_first_name() -> None:
    net = nn.Module()
    net.first = nn.Parameter(torch.zeros(4, 3))
    net.second = nn.Parameter(net.first.data)
    record, tensor = seen(net, lambda net: net.second)
    use = weight_use(record, tensor, filter_axis=0, input_axis=1)
    assert use is not None
    assert use.name == "first"


def test_paths() -> None:
    assert path_of("weight") == "weight"
    assert path_of("a.b.running_mean") == "a.b"
    assert path_of("a.in_proj_weight") == "a.in_proj_weight"
