"""Ranks, likeness and isometry, beside loops and singular values in float64."""

from __future__ import annotations

import math

import pytest
import torch

from regrow.functional import (
    effective_rank,
    filter_overlap,
    isometry_deviation,
    largest_cosine,
    share_rank,
    singular_values,
)


def _features(*shape: int) -> torch.Tensor:
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape))
    )


def _ranks(features: torch.Tensor, delta: float) -> tuple[float, int]:
    values = torch.linalg.svdvals(features).tolist()
    total = sum(values)
    entropy = -sum(each / total * math.log(each / total) for each in values if each > 0)
    summed, count = 0.0, 0
    while summed < (1 - delta) * total:
        summed, count = summed + values[count], count + 1
    return math.exp(entropy), count


def test_ranks_are_those_of_the_singular_values() -> None:
    features = _features(40, 7) @ torch.diag(10.0 ** -torch.arange(7, dtype=torch.float64) * 3)
    values = singular_values(features.mT @ features)
    torch.testing.assert_close(values, torch.linalg.svdvals(features), rtol=1e-5, atol=1e-7)
    for delta in (0.01, 0.2):
        rank, count = _ranks(features, delta)
        assert float(effective_rank(values)) == pytest.approx(rank, rel=1e-5)
        assert int(share_rank(values, delta=delta)) == count


def test_ranks_of_a_stack_are_those_of_each() -> None:
    features = _features(3, 20, 5)
    values = singular_values(features.mT @ features)
    torch.testing.assert_close(values[1], singular_values(features[1].mT @ features[1]))
    for rank in (effective_rank, share_rank):
        torch.testing.assert_close(rank(values), torch.stack([rank(one) for one in values]))


def test_features_of_nothing_have_no_rank() -> None:
    values = singular_values(torch.zeros(4, 4))
    assert effective_rank(values) == 0
    assert share_rank(values) == 0


def test_a_direction_that_is_only_rounding_does_not_count() -> None:
    base = _features(50, 2)
    features = torch.cat([base, base @ torch.tensor([[0.6], [0.8]], dtype=torch.float64)], dim=1)
    assert int(share_rank(singular_values(features.mT @ features), delta=0.0)) == 2


def test_the_most_similar_other_unit() -> None:
    rows = _features(6, 9)
    rows[4] = -2 * rows[1]
    rows[5] = 0.0
    found = largest_cosine(rows @ rows.mT)
    for one in range(6):
        cosines = [
            float(rows[one] @ rows[other] / (rows[one].norm() * rows[other].norm()))
            for other in range(6)
            if other != one and other < 5
        ]
        assert float(found[one]) == pytest.approx(-1.0 if one == 5 else max(cosines))


def test_isometries_of_any_scale_and_shape_do_not_deviate() -> None:
    wide = torch.linalg.qr(_features(9, 4)).Q.mT
    for rows in (wide, 7 * wide, 0.1 * wide.mT):
        assert float(isometry_deviation(rows)) == pytest.approx(0.0, abs=1e-12)


def test_the_deviation_is_that_of_the_scaled_matrix() -> None:
    rows = _features(5, 8)
    scaled = rows * math.sqrt(5) / rows.norm()
    expected = float((scaled @ scaled.mT - torch.eye(5)).square().sum()) / 5
    assert float(isometry_deviation(rows)) == pytest.approx(expected)
    assert float(isometry_deviation(rows.mT)) == pytest.approx(expected)


def test_twins_overlap_as_much_as_they_are_alike() -> None:
    rows = torch.eye(4, dtype=torch.float64)[[0, 0, 1]]
    assert largest_cosine(rows @ rows.mT).tolist() == [1.0, 1.0, 0.0]
    assert filter_overlap(rows)[0] > filter_overlap(rows)[2]
