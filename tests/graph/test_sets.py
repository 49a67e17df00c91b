from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regrow.graph.meetings import Reason
from regrow.graph.sets import SetTable

WHY = Reason("summed", "here")


def members(table: SetTable, names: Tensor) -> list[frozenset[tuple[int, int]]]:
    return [frozenset(table.filters_of(name)) for name in names.flatten().tolist()]


def with_two_layers() -> tuple[SetTable, Tensor, Tensor]:
    table = SetTable()
    return table, table.add_layer(3), table.add_layer(2)


def test_a_new_layer_has_one_set_a_filter() -> None:
    table, first, second = with_two_layers()
    assert members(table, first) == [{(0, 0)}, {(0, 1)}, {(0, 2)}]
    assert members(table, second) == [{(1, 0)}, {(1, 1)}]
    assert table.filters_of(0) == []


def test_equal_sets_have_one_name() -> None:
    table, first, second = with_two_layers()
    a, b, c = int(first[0]), int(first[1]), int(second[0])
    one = table.union([a, table.union([b, c])])
    assert one == table.union([table.union([c, a]), b, 0, b])
    assert table.size(one) == 3
    assert table.layers_of([one]) == {0, 1}
    assert table.union([]) == table.union([0]) == 0
    assert table.union([0, a]) == a


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    shape=st.sampled_from([(2, 3, 4), (1, 3, 1), (3, 1), (4,), ()]),
    other=st.sampled_from([(2, 3, 4), (1, 1, 4), (3, 4), (1,), ()]),
    seed=st.integers(0, 100),
    values=st.integers(1, 6),
)
def test_join_is_the_union_element_by_element(
    shape: tuple[int, ...], other: tuple[int, ...], seed: int, values: int
) -> None:
    table, *_ = with_two_layers()
    generator = torch.Generator().manual_seed(seed)
    try:
        full = torch.broadcast_shapes(shape, other)
    except RuntimeError:
        return
    a = torch.randint(0, values, shape, generator=generator, dtype=torch.int32)
    b = torch.randint(0, values, other, generator=generator, dtype=torch.int32)
    before = a.clone(), b.clone()
    joined = table.join(a, b, WHY)
    assert joined.shape == full
    expected = [
        x | y
        for x, y in zip(members(table, a.expand(full)), members(table, b.expand(full)), strict=True)
    ]
    assert members(table, joined) == expected
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    dims=st.sampled_from([[], [0], [1], [-1], [0, 2], [1, 2], [0, 1, 2]]),
    seed=st.integers(0, 100),
    values=st.integers(1, 6),
)
def test_join_over_is_the_union_along_axes(dims: list[int], seed: int, values: int) -> None:
    table, *_ = with_two_layers()
    generator = torch.Generator().manual_seed(seed)
    names = torch.randint(0, values, (2, 3, 4), generator=generator, dtype=torch.int32)
    joined = table.join_over(names, dims, WHY)
    over = [axis % 3 for axis in dims]
    assert joined.shape == tuple(1 if axis in over else size for axis, size in enumerate((2, 3, 4)))
    wide = joined.expand(2, 3, 4)
    for i, j, k in torch.cartesian_prod(*(torch.arange(n) for n in (2, 3, 4))).tolist():
        at = tuple(slice(None) if axis in over else place for axis, place in enumerate((i, j, k)))
        expected = frozenset[tuple[int, int]]().union(*members(table, names[at]))
        assert members(table, wide[i, j, k]) == [expected]


def test_join_over_nothing_and_of_a_number() -> None:
    table, first, _ = with_two_layers()
    assert table.join_over(first[0], [], WHY).shape == ()
    assert table.join_over(torch.zeros(0, 3, dtype=torch.int32), [0], WHY).tolist() == [[0, 0, 0]]


def test_who_came_together_is_remembered() -> None:
    table, first, second = with_two_layers()
    table.join(first[:2], second, Reason("summed", "a"))
    assert list(table.meetings.partners[0]) == [("summed", 1)]
    assert list(table.meetings.partners[1]) == [("summed", 0)]
    table.join_over(first, [0], Reason("mixed", "softmax in 'b'"))
    assert list(table.meetings.mixed[0]) == ["mixed by softmax in 'b'"]
    assert 1 not in table.meetings.mixed


@pytest.mark.parametrize("second", [torch.zeros(3, dtype=torch.int32), None])
def test_the_same_and_the_empty_bring_nothing_together(second: Tensor | None) -> None:
    table, first, _ = with_two_layers()
    joined = table.join(first, first.clone() if second is None else second, WHY)
    assert torch.equal(joined, first)
    assert table.meetings.partners == {}


def test_a_maximum_over_branches_joins_and_does_not_mix() -> None:
    table, first, second = with_two_layers()
    table.join_over(torch.stack([first[:2], second]), [0], Reason("mixed", "amax in 'b'"))
    assert table.meetings.mixed == {}
    assert list(table.meetings.partners[0]) == [("joined", 1)]
    assert list(table.meetings.partners[1]) == [("joined", 0)]
    table.join_over(first[:2], [0], Reason("mixed", "amax in 'b'"))
    assert list(table.meetings.mixed) == [0]


def test_filters_of_one_layer_that_are_added_are_remembered() -> None:
    table, first, second = with_two_layers()
    table.join(first[:2], first[1:], Reason("summed", "a"))
    assert list(table.meetings.partners[0]) == [("summed", 0)]
    table.join(first[:2], second, Reason("multiplied", "a"))
    assert list(table.meetings.partners[0]) == [("summed", 0), ("multiplied", 1)]


def test_a_filter_that_meets_itself_is_not_mixed() -> None:
    table, first, second = with_two_layers()
    both = table.join(first[:2], second, Reason("summed", "a"))
    table.join_over(torch.stack([first[:2], both]), [0], Reason("mixed", "amax in 'b'"))
    assert table.meetings.mixed == {}


def test_what_is_folded_keeps_its_layers_only() -> None:
    table, first, second = with_two_layers()
    union = table.union([*first.tolist(), *second.tolist()])
    folded = table.fold(union, "what it gives")
    assert table.fold(union, "what it gives") == table.fold(folded, "what it gives") == folded
    assert table.fold(union, "what another gives") != folded
    assert table.layers_of([folded]) == {0, 1}
    assert table.filters_of(folded) == []
    third = table.add_layer(2)
    joined = table.union([folded, int(third[1])])
    assert (table.filters_of(joined), table.size(joined)) == ([(2, 1)], 2)
    assert table.layers_of([joined]) == {0, 1, 2}
