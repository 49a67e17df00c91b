"""Which arms took filters out of the network, and when: in epochs that have passed."""

from __future__ import annotations

from typing import Final

from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.views import Drop

HELD: Final = 0.5
"""Epochs for which what holds after the last one is drawn, to be seen."""


def first_dropping(results: Results, cell: str, arm: str) -> Trial | None:
    """The trial of an arm's first seed that took any filter out of the network; None without one."""
    trials = (trial for trial, _ in results.of_arm(cell, arm, results.drops))
    return next((each for each in trials if each.trial in results.layers and each.epochs), None)


def times(trial: Trial, drop: Drop) -> tuple[float, float]:
    """When a filter left the network and when it came back, in epochs that had passed.

    For a filter that never came back, half an epoch past the end of the training.
    """
    epochs = trial.epochs or 1
    per_epoch = max((trial.steps or epochs) / epochs, 1.0)
    end = epochs + HELD if drop.until is None else (drop.until + 1) / per_epoch
    return (drop.since + 1) / per_epoch, end


def phases(results: Results, cell: str) -> list[tuple[float, float]]:
    """Starts and ends in epochs, in order, of the times in which any arm of a cell trained without some filters."""
    found = sorted(
        {
            times(trial, drop)
            for trial in results.trials_in(cell)
            if trial.epochs
            for drop in results.drops.get(trial.trial, ())
        }
    )
    joined: list[tuple[float, float]] = []
    for start, end in found:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
