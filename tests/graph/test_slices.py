from __future__ import annotations

import itertools

import pytest
import torch

from regrow.errors import ShapeError
from regrow.graph import Filters, Norm, Reader
from regrow.graph.slices import bias_mask, norm_mask, reader_mask, rows, unrows, weight_mask


def layer(kind: str, shape: tuple[int, ...], *, groups: int = 1) -> Filters:
    count = shape[1] * groups if kind == "conv_transpose" else shape[0]
    return Filters(
        path="layer",
        kind=kind,  # type: ignore[arg-type]
        count=count,
        weight="layer.weight",
        bias=None,
        weight_shape=shape,
        groups=groups,
    )


LAYERS = [
    layer("conv", (4, 3, 5, 5)),
    layer("conv", (4, 3, 5)),
    layer("conv", (6, 1, 3, 3), groups=6),
    layer("linear", (4, 3)),
    layer("conv_transpose", (6, 4, 3, 3)),
    layer("conv_transpose", (6, 2, 3, 3), groups=3),
    layer("conv_transpose", (6, 2, 3, 3, 3), groups=2),
]
SHAPES = [f"{each.kind} {each.weight_shape} /{each.groups}" for each in LAYERS]


def own_entries(filters: Filters, unit: int) -> torch.Tensor:
    """Where a filter's numbers are, by the definition of each layer: a slow loop."""
    found = torch.zeros(filters.weight_shape, dtype=torch.bool)
    if filters.kind != "conv_transpose":
        found[unit] = True
        return found
    inputs, width = filters.weight_shape[:2]
    group, column = divmod(unit, width)
    for row in range(inputs):
        if row // (inputs // filters.groups) == group:
            found[row, column] = True
    return found


@pytest.mark.parametrize("filters", LAYERS, ids=SHAPES)
def test_weight_mask_marks_a_filters_own_numbers(filters: Filters) -> None:
    for unit in range(filters.count):
        mask = torch.arange(filters.count) == unit
        found = weight_mask(filters, mask)
        assert found.dtype == torch.bool
        assert torch.equal(found.expand(filters.weight_shape), own_entries(filters, unit))


@pytest.mark.parametrize("filters", LAYERS, ids=SHAPES)
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_leading_axes_are_networks_of_their_own(filters: Filters, lead: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(*lead, filters.count, generator=generator) < 0.5
    weight = torch.randn(*lead, *filters.weight_shape, generator=generator)
    found = weight_mask(filters, mask).expand(weight.shape)
    flat = rows(weight, filters)
    assert flat.shape == (*lead, filters.count, weight[(0,) * len(lead)].numel() // filters.count)
    for at in itertools.product(*(range(n) for n in lead)):
        assert torch.equal(found[at], weight_mask(filters, mask[at]).expand(filters.weight_shape))
        assert torch.equal(flat[at], rows(weight[at], filters))


@pytest.mark.parametrize("filters", LAYERS, ids=SHAPES)
def test_rows_put_a_filters_own_numbers_in_one_row(filters: Filters) -> None:
    weight = torch.arange(torch.Size(filters.weight_shape).numel(), dtype=torch.float64)
    weight = weight.reshape(filters.weight_shape)
    flat = rows(weight, filters)
    for unit in range(filters.count):
        assert torch.equal(flat[unit], weight[own_entries(filters, unit)])
    assert torch.equal(unrows(flat, filters), weight)


@pytest.mark.parametrize("filters", LAYERS, ids=SHAPES)
def test_a_row_of_a_filter_decides_what_it_computes(filters: Filters) -> None:
    """Only the filter whose row is zeroed is silent."""
    space = (7,) * (len(filters.weight_shape) - 2)
    weight = torch.randn(filters.weight_shape, generator=torch.Generator().manual_seed(1)) + 3
    if filters.kind == "linear":
        run = torch.nn.functional.linear
    else:
        suffix = f"{len(space)}d"
        name = "conv_transpose" if filters.kind == "conv_transpose" else "conv"
        operation = getattr(torch.nn.functional, name + suffix)

        def run(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return operation(x, weight, groups=filters.groups)

    inputs = (
        filters.weight_shape[0]
        if filters.kind == "conv_transpose"
        else filters.weight_shape[1] * filters.groups
    )
    flat = rows(weight, filters).clone()
    flat[1] = 0
    out = run(torch.ones(1, inputs, *space), unrows(flat, filters))
    silent = (out == 0).flatten(2).all(-1)[0] if space else (out == 0)[0]
    assert silent.tolist() == [unit == 1 for unit in range(filters.count)]


def reader(kind: str, *, groups: int = 1, alone: bool = True) -> Reader:
    """Filter 0 is read by channels 1 and 4, filter 1 by none, filter 2 by 3, together with others."""
    return Reader(
        path="reader",
        kind=kind,  # type: ignore[arg-type]
        weight="reader.weight",
        groups=groups,
        channels=((1, 4), (), (3,)),
        alone=((True, True), (), (alone,)),
    )


def test_reader_mask_of_each_kind() -> None:
    mask = torch.tensor([True, True, False])
    channels = torch.tensor([False, True, False, False, True, False])
    conv = reader_mask(reader("conv"), mask, (7, 6, 3, 3))
    assert conv.shape == (1, 6, 1, 1)
    assert torch.equal(conv.flatten(), channels)
    linear = reader_mask(reader("linear"), mask, (7, 6))
    assert linear.shape == (1, 6)
    assert torch.equal(linear.flatten(), channels)
    turned = reader_mask(reader("conv_transpose", groups=2), mask, (6, 2, 3, 3))
    assert turned.shape == (6, 1, 1, 1)
    assert torch.equal(turned.flatten(), channels)


def test_reader_mask_of_groups_marks_the_rows_of_the_channels_group_only() -> None:
    found = reader_mask(reader("conv", groups=2), torch.tensor([True, False, False]), (4, 3, 1, 1))
    assert found.shape == (4, 3, 1, 1)
    # channel 1 is slice 1 of group 0 (rows 0, 1); channel 4 is slice 1 of group 1 (rows 2, 3)
    assert found[..., 0, 0].int().tolist() == [[0, 1, 0]] * 4
    found = reader_mask(reader("conv", groups=2), torch.tensor([False, False, True]), (4, 3, 1, 1))
    assert found[..., 0, 0].int().tolist() == [[0, 0, 0]] * 2 + [[1, 0, 0]] * 2


def test_reader_mask_leaves_shared_channels_unless_told() -> None:
    mask = torch.tensor([False, False, True])
    shared = reader("conv", alone=False)
    assert not reader_mask(shared, mask, (7, 6, 1, 1)).any()
    told = reader_mask(shared, mask, (7, 6, 1, 1), only_alone=False)
    assert told.flatten().nonzero().flatten().tolist() == [3]


def test_reader_mask_takes_leading_axes() -> None:
    masks = torch.tensor([[True, False, False], [False, False, True]])
    for kind, shape in (("conv", (4, 3, 1, 1)), ("conv_transpose", (6, 2, 1, 1))):
        both = reader_mask(reader(kind, groups=2), masks, shape)
        for one, mask in zip(both, masks, strict=True):
            assert torch.equal(one, reader_mask(reader(kind, groups=2), mask, shape))


def test_norm_and_bias_masks() -> None:
    norm = Norm(
        path="bn",
        kind="batch_norm",
        weight="bn.weight",
        bias="bn.bias",
        running_mean=None,
        running_var=None,
        channels=((3,), (), (0, 1)),
    )
    found = norm_mask(norm, torch.tensor([[True, True, False], [False, False, True]]), 4)
    assert found.tolist() == [[False, False, False, True], [True, True, False, False]]
    mask = torch.tensor([True, False, False, True])
    assert torch.equal(bias_mask(layer("conv", (4, 3, 5, 5)), mask), mask)


def test_wrong_shapes_are_said() -> None:
    conv = layer("conv", (4, 3, 5, 5))
    norm = Norm(
        path="bn",
        kind="",
        weight=None,
        bias=None,
        running_mean=None,
        running_var=None,
        channels=((0,),),
    )
    three = torch.ones(3, dtype=torch.bool)
    with pytest.raises(
        ShapeError, match=r"a mask of shape \(\*S, 4\) is needed, got \(3,\) \(layer\)"
    ):
        weight_mask(conv, three)
    with pytest.raises(ShapeError, match=r"\(\*S, 4\) is needed"):
        bias_mask(conv, three)
    with pytest.raises(ShapeError, match=r"\(\*S, 1\) is needed, got \(3,\) \(bn\)"):
        norm_mask(norm, three, 4)
    with pytest.raises(ShapeError, match=r"\(\*S, 3\) is needed, got \(\) \(reader\)"):
        reader_mask(reader("conv"), torch.tensor(True), (7, 6, 1, 1))
    with pytest.raises(ShapeError, match=r"\(\*S, 4, 3, 5, 5\) is needed, got \(4, 3, 5, 4\)"):
        rows(torch.zeros(4, 3, 5, 4), conv)
    with pytest.raises(ShapeError, match=r"rows of shape \(\*S, 4, 75\) are needed, got \(4, 74\)"):
        unrows(torch.zeros(4, 74), conv)
