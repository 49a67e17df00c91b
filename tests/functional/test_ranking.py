"""Correlations of scores against scipy's, and at their edges."""

import pytest
import torch
from scipy import stats

from regrow.functional import rank_correlation, value_correlation


def _scores(*shape: int, seed: int, ties: bool) -> torch.Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return (drawn * 2).round() if ties else drawn


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [2, 5, 96])
def test_against_scipy(count: int, ties: bool) -> None:
    a, b = (_scores(count, seed=seed + count, ties=ties) for seed in (0, 1))
    b = b + 0.5 * a
    assert value_correlation(a, b).item() == pytest.approx(
        stats.pearsonr(a.double(), b.double()).statistic, abs=1e-12
    )
    assert rank_correlation(a, b).item() == pytest.approx(
        stats.spearmanr(a, b).statistic, abs=1e-12
    )


def test_the_order_alone_counts_for_ranks() -> None:
    a = torch.tensor([1.0, 4.0, 2.0, 9.0])
    assert rank_correlation(a, a.exp()).item() == pytest.approx(1.0)
    assert rank_correlation(a, -a).item() == pytest.approx(-1.0)
    assert value_correlation(a, a.exp()).item() < 0.95
    infinite = torch.tensor([1.0, 4.0, 2.0, torch.inf])
    assert rank_correlation(a, infinite).item() == pytest.approx(1.0)
    assert value_correlation(a, infinite).isnan()


def test_any_leading_axes() -> None:
    a, b = (_scores(2, 3, 7, seed=seed, ties=True) for seed in (0, 1))
    for correlation in (value_correlation, rank_correlation):
        together = correlation(a, b)
        assert together.shape == (2, 3)
        assert together[1, 2].item() == pytest.approx(correlation(a[1, 2], b[1, 2]).item())


def test_nothing_to_compare_is_not_a_number() -> None:
    varied = torch.tensor([1.0, 2.0, 4.0])
    for correlation in (value_correlation, rank_correlation):
        assert correlation(varied, torch.full((3,), 0.1)).isnan()
        assert correlation(torch.zeros(1), torch.zeros(1)).isnan()
        assert correlation(varied, torch.tensor([1.0, torch.nan, 2.0])).isnan()


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_very_small_and_very_large_scores(scale: float) -> None:
    a = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    assert value_correlation(a * scale, a).item() == pytest.approx(1.0)
