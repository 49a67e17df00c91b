"""Entropy and weight of grafting, against plain loops written from the paper."""

from __future__ import annotations

import math

import pytest
import torch

from regrow.functional import filter_entropies, own_share, weight_entropy


def loop(values: list[float], *, bins: int, drop_maximum: bool) -> float:
    """One weight after the other, as the text has it."""
    low, high = min(values), max(values)
    if low == high:
        return 0.0
    counts = [0] * bins
    for value in values:
        place = math.floor((value - low) / ((high - low) / bins))
        if drop_maximum and value >= low + (high - low) / bins * bins:
            continue
        counts[min(place, bins - 1)] += 1
    return -sum(c / len(values) * math.log(c / len(values)) for c in counts if c)


@pytest.mark.parametrize("bins", [1, 2, 10, 37])
@pytest.mark.parametrize("drop_maximum", [False, True])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_entropy_of_a_layer(bins: int, drop_maximum: bool, scale: float) -> None:
    generator = torch.Generator().manual_seed(bins)
    weights = torch.randn(500, generator=generator, dtype=torch.float64) * scale
    found = weight_entropy(weights, bins=bins, drop_maximum=drop_maximum)
    expected = loop(weights.tolist(), bins=bins, drop_maximum=drop_maximum)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_cases_by_hand() -> None:
    two = torch.tensor([0.0, 0.1, 0.9, 1.0])
    assert float(weight_entropy(two, bins=2)) == pytest.approx(math.log(2))
    # Without the maximum: 2 and 1 of 4.
    less = -(0.5 * math.log(0.5) + 0.25 * math.log(0.25))
    assert float(weight_entropy(two, bins=2, drop_maximum=True)) == pytest.approx(less)
    flat = torch.arange(10.0)
    assert float(weight_entropy(flat)) == pytest.approx(math.log(10))
    for drop_maximum in (False, True):
        assert float(weight_entropy(torch.full((5,), 3.0), drop_maximum=drop_maximum)) == 0.0


def test_weights_that_are_no_numbers_have_no_entropy() -> None:
    stack = torch.tensor([[0.0, 1.0], [0.0, math.nan], [0.0, math.inf]])
    found = weight_entropy(stack, bins=2)
    assert found[0] == pytest.approx(math.log(2))
    assert found[1:].isnan().all()


def test_leading_axes_and_filters() -> None:
    weights = torch.randn(3, 2, 40, dtype=torch.float64)
    found = weight_entropy(weights)
    for s in range(3):
        for o in range(2):
            one = loop(weights[s, o].tolist(), bins=10, drop_maximum=False)
            assert float(found[s, o]) == pytest.approx(one, abs=1e-12)
    assert torch.allclose(filter_entropies(weights), found.sum(-1))


@pytest.mark.parametrize("amplitude", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("sharpness", [1.0, 500.0])
def test_both_shares_make_one(amplitude: float, sharpness: float) -> None:
    mine, yours = torch.randn(50, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    share = own_share(mine, yours, amplitude=amplitude, sharpness=sharpness)
    back = own_share(yours, mine, amplitude=amplitude, sharpness=sharpness)
    assert torch.allclose(share + back, torch.ones(50, dtype=torch.float64))
    assert float((share - 0.5).abs().max()) <= amplitude / 2
    expected = [
        amplitude / math.pi * math.atan(sharpness * (a - b)) + 0.5
        for a, b in zip(mine.tolist(), yours.tolist(), strict=True)
    ]
    assert share.tolist() == pytest.approx(expected, abs=1e-12)
    if amplitude:
        assert ((share > 0.5) == (mine > yours)).all()


def test_rounding_is_an_option() -> None:
    share = own_share(
        torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.0005, dtype=torch.float64)
    )
    assert float(share) == pytest.approx(0.4 / math.pi * math.atan(-0.25) + 0.5)
    assert float(own_share(torch.tensor(1.0), torch.tensor(1.0005), decimals=2)) == pytest.approx(
        0.47
    )


@pytest.mark.parametrize("bins", [1, 2, 10, 16, 40])
def test_kinds_of_numbers_agree(bins: int) -> None:
    """Float32 is compared with edges, float64 is divided: the same bins, also for weights on an edge."""
    on_edges = torch.tensor([0.0, 1.0, 1.0, 1.0, 5.0, 10.0])
    expected = -(0.5 * math.log(0.5) + 3 * math.log(1 / 6) / 6)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        assert float(weight_entropy(on_edges.to(dtype))) == pytest.approx(expected, abs=1e-12)
    # As a float32, 0.7 is below the edge.
    below = weight_entropy(torch.tensor([0.0, 0.65, 0.7, 1.0]))
    assert float(below) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4), abs=1e-12)
    for seed in range(20):
        weights = torch.randn(3000, generator=torch.Generator().manual_seed(seed))
        for one in (weights, weights.bfloat16()):
            found, wide = (weight_entropy(each, bins=bins) for each in (one, one.double()))
            assert float(found) == pytest.approx(float(wide), abs=1e-12)


def test_long_rows_are_looked_at_in_pieces() -> None:
    weights = torch.randn(300_001, generator=torch.Generator().manual_seed(0))
    expected = loop(weights.double().tolist(), bins=10, drop_maximum=False)
    assert float(weight_entropy(weights)) == pytest.approx(expected, abs=1e-12)
    assert float(weight_entropy(weights.double())) == pytest.approx(expected, abs=1e-12)
    both = weight_entropy(torch.stack([weights, weights.flip(0)]))
    assert both.tolist() == pytest.approx([expected] * 2, abs=1e-12)
