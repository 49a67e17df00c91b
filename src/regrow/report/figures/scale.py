"""The accuracy axis and the order of the seeds: shared, so that figures can be laid side by side."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from regrow.report import wording
from regrow.report.figures.style import FAILED, INK
from regrow.study.results import Results
from regrow.study.statistics import FAILED_MARGIN


def seed_order(results: Results, cell: str) -> list[int]:
    """The seeds of a cell from the worst to the best accuracy of the baseline.

    Those that crashed in the baseline come first, those that it has not trained yet last; equals go by seed.
    """
    baseline = results.arm(cell, results.study.baseline)

    def place(seed: int) -> tuple[int, float]:
        trial = baseline.get(seed)
        if trial is None:
            return 2, 0.0
        return (0, 0.0) if trial.test_accuracy is None else (1, trial.test_accuracy)

    return sorted(sorted({trial.seed for trial in results.trials_in(cell)}), key=place)


def last_epoch(results: Results, cell: str, *, arms: Collection[str] | None = None) -> int:
    """The longest training in a cell, of these arms or of all."""
    trials = [trial for trial in results.trials_in(cell) if arms is None or trial.arm in arms]
    # A trial that diverges renews in an epoch that it does not finish.
    renewed = [renewal.epoch for t in trials for renewal in results.renewals.get(t.trial, ())]
    return max([*(trial.epochs or 0 for trial in trials), *renewed], default=0)


def failed_line(results: Results, cell: str) -> float | None:
    """The accuracy at or below which a seed has failed: majority share plus two points; None without any."""
    shares = (trial.majority_share for trial in results.trials_in(cell))
    return next((share + FAILED_MARGIN for share in shares if share is not None), None)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, linear between order statistics.

    Examples:
        >>> quartiles([4.0, 1.0, 3.0, 2.0, 5.0])
        (2.0, 3.0, 4.0)
    """
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def accuracy_axis(ax: Axes, results: Results, cell: str) -> list[Artist]:
    """Label the y axis in percent, fit it to the cell's data, and mark where seeds have failed.

    Returns the failed line for the legend; empty without one.
    """
    line = failed_line(results, cell)
    trials = results.trials_in(cell)
    values = [trial.test_accuracy for trial in trials if trial.test_accuracy is not None]
    low = min([*values, line or 0.0, 1.0])
    high = max([*values, line or 1.0])
    margin = 0.04 * max(high - low, 0.1)
    ax.set_ylim(100 * max(low - 2 * margin, -margin), 100 * min(high + margin, 1 + margin))
    ax.set_ylabel("Test accuracy (%)")
    if line is None:
        return []
    ax.axhspan(-100.0, 100 * line, color=FAILED, lw=0, zorder=0)
    label = f"failed: {wording.percent(line)} % or less"
    return [ax.axhline(100 * line, color=INK, lw=0.8, ls=(0, (2, 2)), zorder=1, label=label)]
