"""Numbers over seeds, against hand-computed values and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from regrow.errors import ConfigError
from regrow.study.statistics import is_failed, mean_interval, paired, summary


def _arm(values: list[float | None]) -> dict[int, float | None]:
    return dict(enumerate(values))


def test_failed_is_up_to_two_points_above_the_majority_whatever_the_rounding() -> None:
    # 0.5 + 0.02 and 0.626 + 0.02 have no exact binary form: the boundary itself must still fail.
    for share in (0.1, 0.5, 0.626, 0.7):
        assert is_failed(share + 0.02, majority_share=share)
        assert not is_failed(share + 0.0201, majority_share=share)
        assert is_failed(0.0, majority_share=share)
    assert is_failed(None, majority_share=0.5)
    assert is_failed(math.nan, majority_share=0.5)


def test_summary_equals_hand_computed_numbers() -> None:
    found = summary(_arm([0.5, 0.6, 0.9, 0.8]), majority_share=0.5)
    assert found.n == 4
    assert found.mean == pytest.approx(0.7, abs=1e-12)
    assert found.median == pytest.approx(0.7, abs=1e-12)
    # deviations -.2 -.1 .2 .1: sum of squares 0.1, over 3
    assert found.std == pytest.approx(math.sqrt(0.1 / 3), abs=1e-12)
    assert (found.worst, found.best) == (0.5, 0.9)
    assert (found.failed, found.crashed) == (1, 0)


def test_crashed_and_diverged_seeds_are_counted_never_dropped() -> None:
    found = summary(_arm([0.9, None, math.nan, 0.8]), majority_share=0.5, diverged=[3])
    assert (found.n, found.failed, found.crashed) == (4, 3, 2)
    assert found.mean == pytest.approx(0.85)


def test_summary_without_numbers_says_none_and_never_nan() -> None:
    empty = summary({}, majority_share=0.5)
    assert (empty.n, empty.mean, empty.median, empty.std, empty.worst) == (
        0,
        None,
        None,
        None,
        None,
    )
    one = summary({7: 0.8}, majority_share=0.5)
    assert (one.mean, one.std) == (0.8, None)
    crashed = summary(_arm([None, None]), majority_share=0.5)
    assert (crashed.n, crashed.mean, crashed.failed, crashed.crashed) == (2, None, 2, 2)


def test_paired_counts_and_mean_by_hand() -> None:
    a = _arm([0.9, 0.8, 0.7, 0.5, 0.6])
    b = _arm([0.5, 0.8, 0.8, 0.9, 0.5])
    found = paired(a, b, majority_share=0.5)
    assert found.n == 5
    assert (found.mean_a, found.mean_b) == (pytest.approx(0.7), pytest.approx(0.7))
    assert found.mean_difference == pytest.approx(0.0, abs=1e-12)  # .4 + 0 - .1 - .4 + .1
    assert (found.wins, found.losses, found.ties) == (2, 2, 1)
    assert (found.failed_a_only, found.failed_b_only, found.failed_both) == (1, 2, 0)
    # three discordant seeds split 1:2: 2 * (1 + 3) / 8 = 1
    assert found.mcnemar_p == 1.0
    assert found.wilcoxon_p is None  # four pairs differ


def test_swapping_the_arms_turns_the_sign() -> None:
    rng = np.random.default_rng(3)
    a = _arm([float(x) for x in rng.integers(40, 100, 20) / 100])
    b = _arm([float(x) for x in rng.integers(40, 100, 20) / 100])
    one, other = paired(a, b, majority_share=0.5), paired(b, a, majority_share=0.5)
    assert one.mean_difference == pytest.approx(-(other.mean_difference or 0.0), abs=1e-12)
    assert one.wilcoxon_p == pytest.approx(other.wilcoxon_p)
    assert (one.wins, one.losses) == (other.losses, other.wins)
    assert (one.failed_a_only, one.failed_b_only) == (other.failed_b_only, other.failed_a_only)
    assert one.mcnemar_p == other.mcnemar_p


def test_interval_equals_scipy_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    difference = np.round(rng.normal(0.1, 0.1, 24), 3)
    a = {k: 0.5 + float(d) / 2 for k, d in enumerate(difference)}
    b = {k: 0.5 - float(d) / 2 for k, d in enumerate(difference)}
    found = paired(a, b, majority_share=0.1)
    again = paired(a, b, majority_share=0.1)
    assert (found.low, found.high) == (again.low, again.high)
    assert found.method == "bca"
    ends = stats.bootstrap(
        (difference,), np.mean, n_resamples=50_000, rng=np.random.default_rng(9)
    ).confidence_interval
    width = ends.high - ends.low
    assert found.low == pytest.approx(ends.low, abs=0.05 * width)
    assert found.high == pytest.approx(ends.high, abs=0.05 * width)
    assert found.mean_difference is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean_difference < found.high
    assert found.mean_difference == pytest.approx(difference.mean(), abs=1e-12)


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    a, b = _arm([0.9, 0.7, 0.6, 0.8, 0.75]), _arm([0.5, 0.6, 0.7, 0.6, 0.7])
    narrow = paired(a, b, majority_share=0.1, confidence=0.5)
    wide = paired(a, b, majority_share=0.1, confidence=0.99)
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.low is not None
    assert wide.high is not None
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("n", [6, 11, 20, 50])
def test_signed_rank_p_equals_scipys_exact_test_without_ties(n: int) -> None:
    rng = np.random.default_rng(n)
    size = np.arange(1, n + 1) / 1000
    difference = size * rng.choice([-1, 1], n, p=[0.3, 0.7])
    a, b = {k: 0.5 + float(d) for k, d in enumerate(difference)}, dict.fromkeys(range(n), 0.5)
    found = paired(a, b, majority_share=0.1)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(difference, method="exact").pvalue)


def test_signed_rank_p_with_ties_and_zeros_equals_brute_force() -> None:
    points = [1, 1, -1, 2, 2, 3, -3, 5, 0, 0]
    a, b = {k: 0.5 + d / 100 for k, d in enumerate(points)}, dict.fromkeys(range(10), 0.5)
    # Oracle: all 2**8 ways to sign the mid-ranks of the eight pairs that differ.
    nonzero = [d for d in points if d]
    ranks = stats.rankdata(np.abs(nonzero))
    observed = min(ranks[np.array(nonzero) > 0].sum(), ranks[np.array(nonzero) < 0].sum())
    sums = [float(ranks[list(signs)].sum()) for signs in itertools.product([True, False], repeat=8)]
    expected = 2 * sum(s <= observed for s in sums) / len(sums)
    found = paired(a, b, majority_share=0.1)
    assert found.ties == 2
    assert found.wilcoxon_p == pytest.approx(expected, abs=1e-12)


def test_six_pairs_all_won_give_the_smallest_possible_p() -> None:
    a, b = _arm([0.6, 0.7, 0.8, 0.9, 0.65, 0.75]), dict.fromkeys(range(6), 0.5)
    assert paired(a, b, majority_share=0.1).wilcoxon_p == pytest.approx(2 / 64)
    del a[0]
    assert paired(a, b, majority_share=0.1).wilcoxon_p is None


def test_mcnemar_by_hand() -> None:
    # b alone fails on 10 seeds, a alone on none: 2 / 2**10
    a, b = _arm([0.9] * 24), _arm([0.5] * 10 + [0.9] * 14)
    found = paired(a, b, majority_share=0.5)
    assert (found.failed_a_only, found.failed_b_only) == (0, 10)
    assert found.mcnemar_p == pytest.approx(2 / 1024)
    # 1 : 10 of eleven: 2 * (1 + 11) / 2**11
    a[20] = 0.5
    found = paired(a, b, majority_share=0.5)
    assert found.mcnemar_p == pytest.approx(24 / 2048)


def test_equal_arms_are_ties_with_an_interval_of_no_width() -> None:
    arm = _arm([0.5, 0.6, 0.9])
    found = paired(arm, dict(arm), majority_share=0.5)
    assert (found.mean_difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.method == "constant"
    assert (found.ties, found.wilcoxon_p, found.mcnemar_p) == (3, None, 1.0)
    # a constant shift whose terms differ in the last bit: 0.3 - 0.2 != 0.2 - 0.1
    shifted = paired(_arm([0.3, 0.2]), _arm([0.2, 0.1]), majority_share=0.0)
    assert (shifted.low, shifted.high, shifted.method) == (0.1, 0.1, "constant")


def test_all_failed_and_single_pairs() -> None:
    found = paired(_arm([0.5, 0.5]), _arm([0.5, 0.5]), majority_share=0.5)
    assert (found.failed_both, found.failed_a_only, found.mcnemar_p) == (2, 0, 1.0)
    one = paired({3: 0.9}, {3: 0.5}, majority_share=0.5)
    assert (one.n, one.mean_difference, one.low, one.high) == (1, 0.4, None, None)


def test_missing_pairs_and_crashes_are_told_apart() -> None:
    a: dict[int, float | None] = {0: 0.9, 1: None, 2: 0.9, 5: 0.8}
    b: dict[int, float | None] = {0: 0.5, 1: 0.9, 2: 0.9, 6: 0.8}
    found = paired(a, b, majority_share=0.5, diverged_b=[2])
    assert (found.n, found.both, found.crashed, found.unpaired) == (2, 3, 1, 2)
    assert found.mean_difference == pytest.approx(0.2)
    assert (found.mean_a, found.mean_b) == (pytest.approx(0.9), pytest.approx(0.7))  # pairs only
    assert (found.failed_a_only, found.failed_b_only) == (1, 2)
    nothing = paired({0: 0.5}, {1: 0.5}, majority_share=0.5)
    assert (nothing.n, nothing.mean_difference, nothing.mcnemar_p, nothing.unpaired) == (
        0,
        None,
        None,
        2,
    )


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"accuracy must be within \[0, 1\], got 87.5"):
        summary({0: 87.5}, majority_share=0.5)
    with pytest.raises(ConfigError, match="majority_share"):
        summary({0: 0.5}, majority_share=50.0)
    with pytest.raises(ConfigError, match="confidence"):
        paired({0: 0.5}, {0: 0.5}, majority_share=0.5, confidence=95)
    with pytest.raises(ConfigError, match="resamples"):
        paired({0: 0.5}, {0: 0.5}, majority_share=0.5, resamples=10)


def test_the_interval_of_a_mean_is_that_of_paired_differences() -> None:
    values = [0.1, 0.3, 0.25, 0.7, 0.4, 0.35]
    same = paired(dict(enumerate(values)), dict.fromkeys(range(6), 0.0), majority_share=0.0)
    assert mean_interval(values) == (same.low, same.high)
    assert mean_interval([]) is None
