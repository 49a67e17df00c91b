"""Two arms of one cell, compared seed by seed by the same rule everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping

from regrow.errors import StoreError
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import PairedComparison, paired


def accuracies(trials: Mapping[int, Trial]) -> dict[int, float | None]:
    """What the trials of one arm reached.

    Args:
        trials: Seed to trial.

    Returns:
        Seed to test accuracy; None where a trial crashed.
    """
    return {seed: trial.test_accuracy for seed, trial in trials.items()}


def diverged(trials: Mapping[int, Trial]) -> tuple[int, ...]:
    """The seeds of one arm that became non-finite.

    Args:
        trials: Seed to trial.

    Returns:
        Seeds.
    """
    return tuple(seed for seed, trial in trials.items() if trial.status == "diverged")


def compare(
    arm: Mapping[int, Trial], versus: Mapping[int, Trial], *, majority_share: float | None
) -> PairedComparison:
    """Compare two arms.

    Args:
        arm: Seed to trial of the arm under test.
        versus: The same of the other.
        majority_share: Share of the commonest class in the test set; None where all trials crashed.

    Returns:
        The first minus the second.
    """
    return paired(
        accuracies(arm),
        accuracies(versus),
        majority_share=majority_share or 0.0,
        diverged_a=diverged(arm),
        diverged_b=diverged(versus),
    )


def majority_share(results: Results, cell: str) -> float | None:
    """The share of the commonest class in the test set of one cell.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The share; None if no trial of the cell measured anything.

    Raises:
        StoreError: The trials of the cell have seen different test sets.
    """
    shares = {
        trial.majority_share
        for trial in results.trials_in(cell)
        if trial.majority_share is not None
    }
    if not shares:
        return None
    if not math.isclose(min(shares), max(shares), abs_tol=1e-9):
        raise StoreError(
            f"{results.folder}: the trials of one cell must share one test set, and those of "
            f"'{cell}' have majority shares from {min(shares)} to {max(shares)}"
        )
    return min(shares)
