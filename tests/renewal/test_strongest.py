"""The second scion of Filter Grafting: the layer's own large filters, for its small ones."""

import math

import pytest
import torch
from torch import nn

from regrow.draw import Key
from regrow.renewal import AddStrongest
from regrow.renewal.strongest import partners
from renewal.layers import edits_of, layer_of

KEY = Key(seed=0, step=0, layer="a")


def _oracle(weight: list[list[float]], marked: set[int]) -> list[list[float]]:
    """As the paper has it: sort by l1, add the i-th largest to the i-th smallest, all from the weights as they were."""
    order: list[int] = []
    for f, row in enumerate(weight):
        size = sum(abs(value) for value in row)
        place = 0
        while place < len(order) and sum(abs(v) for v in weight[order[place]]) <= size:
            place += 1
        order.insert(place, f)
    grafted = [list(row) for row in weight]
    for i, small in enumerate(order):
        large = order[len(order) - 1 - i]
        if small in marked and small != large:
            for k in range(len(weight[small])):
                grafted[small][k] = weight[small][k] + weight[large][k]
    return grafted


def _grafted(weight: torch.Tensor, marked: list[int]) -> torch.Tensor:
    mask = torch.zeros(len(weight), dtype=torch.bool)
    mask[marked] = True
    given, where = AddStrongest().scions(weight, mask, key=KEY)
    assert not (where & ~mask).any()
    return torch.where(where[:, None], weight + given, weight)


def _rows(*scales: float, length: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    signs = torch.randn(len(scales), length, generator=generator, dtype=torch.float64).sign()
    return signs * torch.tensor(scales, dtype=torch.float64)[:, None]


@pytest.mark.parametrize(
    ("weight", "marked"),
    [
        (_rows(0.5, 0.01, 0.7, 0.0, 0.3, 0.02), [1, 3, 5]),
        (_rows(0.5, 0.01, 0.7, 0.0, 0.3), [1, 3]),
        (_rows(0.5, 0.01, 0.7, 0.0, 0.3), [1, 3, 4]),  # the middle, which has no partner
        (_rows(0.5, 0.01, 0.7, 0.0), [0, 1, 3]),  # more than half: the third is given a weaker one
        (_rows(0.01, 0.02, 0.03, 0.04), [0, 1, 2, 3]),  # all
        (_rows(0.02, 0.02, 0.02, 0.02), [0, 1, 2, 3]),  # ties
        (_rows(0.5, 0.01, 0.5, 0.01, 0.5, 0.01), [1, 3, 5]),  # ties among givers and takers
        (_rows(0.01, 0.01, 0.5, 0.7), [0, 1]),  # among takers alone
        (_rows(0.01), [0]),
        (_rows(0.01, 0.5), [0]),
        (torch.zeros(4, 3, dtype=torch.float64), [0, 1, 2, 3]),
        (torch.zeros(3, 0, dtype=torch.float64), [0]),
    ],
)
def test_oracle_in_float64(weight: torch.Tensor, marked: list[int]) -> None:
    expected = torch.tensor(_oracle(weight.tolist(), set(marked)), dtype=torch.float64)
    assert torch.equal(_grafted(weight, marked), expected.reshape(weight.shape))


def test_oracle_on_many_layers() -> None:
    generator = torch.Generator().manual_seed(0)
    for count in range(1, 20):
        weight = torch.randn(count, 9, generator=generator, dtype=torch.float64)
        marked = torch.randperm(count, generator=generator)[: 1 + count // 2].tolist()
        expected = torch.tensor(_oracle(weight.tolist(), set(marked)), dtype=torch.float64)
        assert torch.equal(_grafted(weight, marked), expected)


def test_by_hand() -> None:
    weight = torch.tensor([[3.0, -3.0], [0.0, 0.0], [-1.0, 1.0], [0.0, 0.5], [9.0, 1.0]])
    # l1: 6, 0, 2, 0.5, 10. In order: 1, 3, 2, 0, 4.
    assert partners(weight).tolist() == [3, 4, 2, 0, 1]
    assert _grafted(weight, [1, 3]).tolist() == [
        [3.0, -3.0],
        [9.0, 1.0],  # a filter of zeros becomes a copy
        [-1.0, 1.0],
        [3.0, -2.5],
        [9.0, 1.0],
    ]


def test_equal_filters_have_partners_too() -> None:
    """Were both ends sorted for themselves, each of them would be added to itself."""
    assert partners(torch.ones(4, 3)).tolist() == [3, 2, 1, 0]
    assert partners(torch.ones(5, 3)).tolist() == [4, 3, 2, 1, 0]
    assert partners(torch.ones(1, 3)).tolist() == [0]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_not_finite_gives_nothing_and_takes_nothing(broken: float) -> None:
    weight = _rows(0.01, 0.5, 0.7, 0.02)
    weight[2, 1] = broken
    after = _grafted(weight, [0, 2, 3])
    assert torch.equal(after[0], weight[0] + weight[1])  # the largest that is finite
    assert torch.equal(after[3], weight[3])  # the middle of the three
    assert torch.equal(after[2].isfinite(), weight[2].isfinite())
    assert after[[0, 1, 3]].isfinite().all()


def test_norms_in_half_precision_do_not_overflow() -> None:
    weight = torch.full((3, 40000), 2.0, dtype=torch.float16)  # l1 80000, above its largest number
    weight[0], weight[1] = 0.0, 3.0
    assert partners(weight).tolist() == [1, 0, 2]


def test_groups_are_no_special_case() -> None:
    """Filters of one layer have one shape, whichever inputs they read."""
    for module in (
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        nn.ConvTranspose2d(4, 6, 3, padding=1, groups=2),
    ):
        net, layer = layer_of(module)
        weight = net[0].weight
        transposed = isinstance(module, nn.ConvTranspose2d)

        def filter_of(
            index: int, tensor: torch.Tensor, *, transposed: bool = transposed
        ) -> torch.Tensor:
            group = index // 3
            # Filters of a transposed convolution lie in its second axis, those of a group over the group's inputs.
            return tensor[2 * group : 2 * group + 2, index % 3] if transposed else tensor[index]

        with torch.no_grad():
            for index, scale in enumerate((1.0, 0.5, 2.0, 0.1, 3.0, 0.01)):
                filter_of(index, weight).fill_(scale)
        (edit,) = edits_of(AddStrongest(), net, layer, 3, 5)
        after = torch.where(edit.mask, torch.as_tensor(edit.value), weight.detach())
        values = [filter_of(index, after).unique().tolist() for index in range(6)]
        expected = [1.0, 0.5, 2.0, 2.1, 3.0, 3.01]
        assert [round(value, 5) for (value,) in values] == expected


def test_the_middle_of_a_layer_is_not_in_the_edit() -> None:
    """It keeps its bits and, with reset_optimizer, the optimizer's memory of it."""
    net, layer = layer_of(nn.Conv2d(4, 6, 3, padding=1))
    with torch.no_grad():
        net[0].weight[4, 0, 0, 0] = math.nan  # five are left
        for index, scale in ((0, 1.0), (1, 0.1), (2, 0.5), (3, 3.0), (5, 0.01)):
            net[0].weight[index] = scale
    (edit,) = edits_of(AddStrongest(reset_optimizer=True), net, layer, 1, 2, 5)
    assert edit.mask.flatten().nonzero().flatten().tolist() == [1, 5]
    assert edits_of(AddStrongest(), net, layer, 2) == []
