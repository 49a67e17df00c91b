"""Numbers over seeds, for reports: `summary` is what an arm reached, `paired` how two arms differ pair by pair.

Called by `report/summary`, the tables and the figures; means, intervals and exact tests are here and nowhere else.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regrow.errors import ConfigError

FAILED_MARGIN: Final = 0.02
"""How far above the majority class's share an accuracy must lie for the seed not to have failed."""

FEWEST_PAIRS: Final = 6
"""Below six differing pairs no two-sided signed-rank test can reach p < 0.05: 2 / 2**5 = 0.0625."""

# Accuracies are counts divided by the size of the test set. Equal differences of such fractions
# disagree in their last bits, which would break ties in ranks and thresholds.
_DECIMALS: Final = 12

_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """What one arm of a study reached over its seeds; None where there is nothing to compute from."""

    n: int  # trials that ended, crashed ones included
    mean: float | None  # mean accuracy of the trials that have one, 0 to 1
    median: float | None  # their median
    std: float | None  # their standard deviation with ddof = 1; None below two trials
    worst: float | None  # the lowest accuracy; of errors the highest
    best: float | None  # the highest accuracy; of errors the lowest
    failed: int  # trials at chance, diverged or crashed
    crashed: int  # trials that left no accuracy: in `n` and `failed`, not in the mean


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """How arm a differs from arm b over the seeds that both have; None where a number cannot be."""

    n: int  # seeds with an accuracy in both arms: the pairs behind every number on accuracy
    mean_a: float | None  # mean accuracy of a over those pairs, 0 to 1
    mean_b: float | None  # mean accuracy of b over those pairs
    # Mean of accuracy a minus accuracy b; +0.01 is one point in favour of a.
    mean_difference: float | None
    low: float | None  # lower end of the bootstrap interval of that mean
    high: float | None  # upper end
    confidence: float  # what the interval should cover, 0.95 unless told otherwise
    # How the interval was made: "bca", or "constant" when all differences are equal.
    method: str | None
    # Two-sided exact signed-rank p over the pairs that differ; None below six.
    wilcoxon_p: float | None
    wins: int  # pairs in which a is better
    losses: int  # pairs in which b is better
    ties: int  # pairs of equal accuracy
    # Seeds that ended in both arms, crashed ones included: the base of the failure counts.
    both: int
    failed_a_only: int  # seeds of `both` that failed in a and not in b
    failed_b_only: int  # seeds of `both` that failed in b and not in a
    failed_both: int  # seeds of `both` that failed in both arms
    mcnemar_p: float | None  # Two-sided exact McNemar p of the failures; None without a common seed
    crashed: int  # seeds of `both` without an accuracy in a or in b: `both - n`.
    unpaired: int  # seeds that only one arm has

    @property
    def failed_a(self) -> int:
        """Seeds of `both` that failed in a."""
        return self.failed_a_only + self.failed_both

    @property
    def failed_b(self) -> int:
        """Seeds of `both` that failed in b."""
        return self.failed_b_only + self.failed_both


def is_failed(accuracy: float | None, *, majority_share: float) -> bool:
    """Whether a trial learnt nothing: at most two points above always naming the commonest class.

    failed = accuracy is missing, or accuracy - majority_share <= 0.02.

    Examples:
        >>> is_failed(0.52, majority_share=0.5), is_failed(0.53, majority_share=0.5)
        (True, False)
    """
    if not 0.0 <= majority_share <= 1.0:
        raise ConfigError(f"majority_share must be within [0, 1], got {majority_share!r}")
    if accuracy is None or math.isnan(accuracy):
        return True
    if not 0.0 <= accuracy <= 1.0:
        raise ConfigError(f"an accuracy must be within [0, 1], got {accuracy!r}")
    return round(accuracy - majority_share - FAILED_MARGIN, _DECIMALS) <= 0.0


def summary(
    accuracies: Mapping[int, float | None],
    *,
    majority_share: float,
    diverged: Collection[int] = (),
    lower: bool = False,
) -> ArmSummary:
    """Summarise one arm over its seeds, failures counted and crashes named; accuracies by seed, None for a crash.

    A mean alone hides a lottery: the worst seed and the number of failed seeds stand beside it. With `lower` they are
    no accuracies but errors, at least 0, of which the lowest is the best; only who diverged or crashed has failed.

    Examples:
        >>> found = summary({0: 0.5, 1: 0.9, 2: None}, majority_share=0.5)
        >>> found.mean, found.worst, found.failed, found.crashed
        (0.7, 0.5, 2, 1)
    """
    failed = _failed(accuracies, majority_share=majority_share, diverged=diverged, lower=lower)
    values = list(_measured(accuracies).values())
    return ArmSummary(
        n=len(accuracies),
        mean=mean_of(values),
        median=statistics.median(values) if values else None,
        std=deviation_of(values),
        worst=(max if lower else min)(values, default=None),
        best=(min if lower else max)(values, default=None),
        failed=sum(failed.values()),
        crashed=len(accuracies) - len(values),
    )


def paired(
    a: Mapping[int, float | None],
    b: Mapping[int, float | None],
    *,
    majority_share: float,
    diverged_a: Collection[int] = (),
    diverged_b: Collection[int] = (),
    confidence: float = 0.95,
    resamples: int = 9999,
    lower: bool = False,
) -> PairedComparison:
    """Compare two arms seed by seed: difference a - b with its interval, and the failures.

    Trials of one seed start from the same weights and see the same batches, so the difference within a seed is free of
    most of the spread between seeds. The interval is the bias-corrected and accelerated bootstrap of the mean
    difference, with a fixed stream of random numbers. A pair with a crashed trial counts among the failures only. With
    `lower` they are errors, as in `summary`: the lower one of a pair wins. The difference is a - b all the same.

    Source:
        Efron, "Better bootstrap confidence intervals", JASA 1987. Wilcoxon, "Individual comparisons
        by ranking methods", Biometrics Bulletin 1945. McNemar, "Note on the sampling error of the
        difference between correlated proportions or percentages", Psychometrika 1947.

    Examples:
        >>> found = paired({0: 0.9, 1: 0.9, 2: 0.8}, {0: 0.5, 1: 0.9, 3: 0.9}, majority_share=0.5)
        >>> found.n, found.mean_difference, found.wins, found.ties, found.failed_b_only
        (2, 0.2, 1, 1, 1)
        >>> found.unpaired, found.wilcoxon_p
        (2, None)
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence must be within (0, 1), got {confidence!r}")
    if resamples < 100:
        raise ConfigError(f"resamples must be at least 100, got {resamples!r}")
    failed_a = _failed(a, majority_share=majority_share, diverged=diverged_a, lower=lower)
    failed_b = _failed(b, majority_share=majority_share, diverged=diverged_b, lower=lower)
    measured_a, measured_b = _measured(a), _measured(b)
    both = sorted(a.keys() & b.keys())
    pairs = [seed for seed in both if seed in measured_a and seed in measured_b]
    difference = np.array(
        [round(measured_a[seed] - measured_b[seed], _DECIMALS) for seed in pairs], dtype=np.float64
    )
    low, high, method = _interval(difference, confidence=confidence, resamples=resamples)
    a_only = sum(failed_a[seed] and not failed_b[seed] for seed in both)
    b_only = sum(failed_b[seed] and not failed_a[seed] for seed in both)
    return PairedComparison(
        n=len(pairs),
        mean_a=mean_of(measured_a[seed] for seed in pairs),
        mean_b=mean_of(measured_b[seed] for seed in pairs),
        mean_difference=round(math.fsum(difference) / len(pairs), _DECIMALS) if pairs else None,
        low=low,
        high=high,
        confidence=confidence,
        method=method,
        wilcoxon_p=_signed_rank_p(difference),
        wins=int((difference < 0).sum() if lower else (difference > 0).sum()),
        losses=int((difference > 0).sum() if lower else (difference < 0).sum()),
        ties=int((difference == 0).sum()),
        both=len(both),
        failed_a_only=a_only,
        failed_b_only=b_only,
        failed_both=sum(failed_a[seed] and failed_b[seed] for seed in both),
        mcnemar_p=_mcnemar_p(a_only, b_only) if both else None,
        crashed=len(both) - len(pairs),
        unpaired=len(a.keys() ^ b.keys()),
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of the numbers that are there; None without any.

    Examples:
        >>> mean_of([0.25, None, 0.75]), mean_of([])
        (0.5, None)
    """
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def deviation_of(values: Iterable[float | None]) -> float | None:
    """The standard deviation, ddof = 1, of the numbers that are there; None below two.

    Examples:
        >>> deviation_of([0.5, 0.5, None]), deviation_of([0.5])
        (0.0, None)
    """
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) > 1 else None


def mean_interval(
    values: Sequence[float], *, confidence: float = 0.95, resamples: int = 9999
) -> tuple[float, float] | None:
    """The interval of a mean over seeds: bias-corrected and accelerated bootstrap, as in `paired`.

    Examples:
        >>> mean_interval([0.25, 0.25, 0.25]), mean_interval([0.5])
        ((0.25, 0.25), None)
    """
    rounded = np.array([round(value, _DECIMALS) for value in values], dtype=np.float64)
    low, high, _ = _interval(rounded, confidence=confidence, resamples=resamples)
    return None if low is None or high is None else (low, high)


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of a mean: quick, for many means in one figure. None below two values.

    Examples:
        >>> t_interval([1.0, 1.0]), t_interval([0.5])
        ((1.0, 1.0), None)
    """
    if len(values) < 2:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    half *= statistics.stdev(values) / math.sqrt(len(values))
    middle = statistics.fmean(values)
    return middle - half, middle + half


def _measured(accuracies: Mapping[int, float | None]) -> dict[int, float]:
    return {
        seed: accuracy
        for seed, accuracy in accuracies.items()
        if accuracy is not None and not math.isnan(accuracy)
    }


def _failed(
    accuracies: Mapping[int, float | None],
    *,
    majority_share: float,
    diverged: Collection[int],
    lower: bool,
) -> dict[int, bool]:
    if lower:
        known = _measured(accuracies)
        return {seed: seed not in known or seed in diverged for seed in accuracies}
    return {
        seed: is_failed(accuracy, majority_share=majority_share) or seed in diverged
        for seed, accuracy in accuracies.items()
    }


def _interval(
    difference: _Floats, *, confidence: float, resamples: int
) -> tuple[float | None, float | None, str | None]:
    """Ends and method of the bootstrap interval of the mean; None below two pairs."""
    if difference.size < 2:
        return None, None, None
    if np.all(difference == difference[0]):
        # The acceleration of BCa is 0/0 here, while every resample has the same mean.
        return float(difference[0]), float(difference[0]), "constant"
    found = stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high), "bca"


def _signed_rank_p(difference: _Floats) -> float | None:
    """Exact two-sided p of Wilcoxon's signed-rank test, zeros left out, ties given mid-ranks.

    Test sets are small and accuracies repeat, so ties are the rule; the usual switch to a normal approximation is poor
    at the sizes of such studies. The distribution of the rank sum under random signs is built one pair after the other;
    ranks are doubled to make mid-ranks whole.
    """
    nonzero = difference[difference != 0]
    if nonzero.size < FEWEST_PAIRS:
        return None
    ranks = np.rint(2 * stats.rankdata(np.abs(nonzero))).astype(np.int64)
    total = int(ranks.sum())
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    for rank in ranks:
        shifted = np.zeros_like(chance)
        shifted[rank:] = chance[: total + 1 - rank]
        chance = (chance + shifted) / 2
    positive = int(ranks[nonzero > 0].sum())
    tail = min(positive, total - positive)
    return min(1.0, 2 * float(chance[: tail + 1].sum()))


def _mcnemar_p(a_only: int, b_only: int) -> float:
    discordant = a_only + b_only
    if not discordant:
        return 1.0
    return float(stats.binomtest(min(a_only, b_only), discordant, 0.5).pvalue)
