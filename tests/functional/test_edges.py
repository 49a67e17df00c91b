"""How many weights lie above the edges of bins: by bins, exactly as by one comparison after the other."""

from __future__ import annotations

import math
from typing import Final

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from regrow.weighing import edges

MANY: Final = edges._LARGE


def one_by_one(weights: torch.Tensor, *, low: float, high: float, bins: int) -> list[float]:
    """In float64, one edge after the other."""
    wide, width = weights.double(), (high - low) / bins
    return [float((wide >= low + k * width).sum()) for k in range(1, bins)]


def check(weights: torch.Tensor, bins: int) -> list[float]:
    """Both ways; gives the counts."""
    low, high = (float(each) for each in torch.aminmax(weights))
    found = edges.at_least(weights, low=low, high=high, bins=bins)
    assert found == one_by_one(weights, low=low, high=high, bins=bins)
    return found


def beside_edges(weights: torch.Tensor, *, bins: int, every: int, reach: int) -> torch.Tensor:
    """Some of the weights put on an edge or a few float32 beside it."""
    low, high = (float(each) for each in torch.aminmax(weights))
    width = (high - low) / bins
    row = torch.tensor([low + k * width for k in range(1, bins)] or [low]).clamp(low, high)
    near = [row]
    for way in (math.inf, -math.inf):
        each = row
        for _ in range(reach):
            each = each.nextafter(torch.tensor(way)).clamp(low, high)
            near.append(each)
    all_near, out = torch.cat(near), weights.clone()
    places = torch.arange(7, len(out), every)
    keep = torch.stack([weights.argmin(), weights.argmax()])
    out[places] = all_near[torch.arange(len(places)) % len(all_near)]
    out[keep] = weights[keep]
    return out


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    bins=st.integers(1, 13),
    more=st.integers(0, 5000),
    scale=st.sampled_from([1e-42, 1e-38, 1e-6, 1.0, 1e6, 1e37]),
    shift=st.sampled_from([0.0, 1.0, -30.0, 1e4]),
    every=st.sampled_from([3, 1000, 50_000]),
)
@example(seed=0, bins=10, more=0, scale=1.0, shift=0.0, every=3)
@example(seed=0, bins=10, more=1, scale=1e-42, shift=0.0, every=1000)
def test_exactly_as_one_comparison_after_the_other(
    *, seed: int, bins: int, more: int, scale: float, shift: float, every: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = (torch.randn(MANY + more, generator=generator).clamp(-4, 4) + shift) * scale
    low, high = torch.aminmax(weights)
    if low < high and bool((high - low).isfinite()):
        check(beside_edges(weights, bins=bins, every=every, reach=3), bins)


@pytest.mark.parametrize("more", [0, 1, edges._ROW * 4 - 1, edges._ROW * 4, edges._PIECE + 77])
def test_rows_pieces_and_what_is_left_of_them(more: int) -> None:
    weights = torch.randn(MANY + more, generator=torch.Generator().manual_seed(more))
    found = check(weights, 10)
    assert 0 < found[-1] < found[0] < len(weights)
    check(beside_edges(weights, bins=10, every=999, reach=2), 10)


@pytest.mark.parametrize("count", [2, 11, 21, 256])
def test_whole_numbers(count: int) -> None:
    """Many weights on an edge, as in a network that has been quantised."""
    weights = torch.arange(MANY + 5).remainder(count).float() - count // 2
    check(weights, 10)
    check(weights * 0.1, 10)


def test_all_but_one_weight_are_equal() -> None:
    weights = torch.full((MANY + 3,), 0.3)
    for place in (0, MANY // 2, MANY + 2):
        one = weights.clone()
        one[place] = 0.1
        assert check(one, 10) == [MANY + 2.0] * 9
        one[place] = 0.7
        assert check(one, 10) == [1.0] * 9


def test_the_smallest_numbers_and_the_widest_range() -> None:
    generator = torch.Generator().manual_seed(0)
    tiny = torch.randint(-60, 61, (MANY + 9,), generator=generator).float() * 2.0**-149
    assert float(tiny.abs().max()) > 0
    check(tiny, 10)
    wide = torch.randn(MANY + 9, generator=generator).exp() * torch.logspace(-38, 36, MANY + 9)
    check(wide, 10)
