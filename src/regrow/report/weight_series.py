"""Numbers over time, for tables and figures alike: shares, distances, entropies, invalid filters."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence

from regrow.report.carried import mean_invalid
from regrow.study.records import GraftRecord, Trial
from regrow.study.results import Results
from regrow.study.views import Carried

Spread = tuple[float, float | None, int]
Series = Callable[[Results, str, str, str], Mapping[int, Spread]]
"""Mean, standard deviation (None for a single trial) and number of trials."""


def seen_layers(results: Results, cell: str, held: Collection[str]) -> dict[str, int]:
    """The layers of a cell's trials of which something is known."""
    found: dict[str, int] = {}
    for trial in results.trials_in(cell):
        if trial.trial in held:
            for layer, filters in results.layers.get(trial.trial, {}).items():
                found.setdefault(layer, filters)
    return found


def overlap_series(results: Results, cell: str, arm: str, layer: str) -> dict[int, Spread]:
    """The overlap of one layer's filters of an arm over the epochs, over the trials."""
    held = results.overlaps
    trials = results.arm(cell, arm).values()
    return over_trials([dict(held.get(t.trial, {}).get(layer, {})) for t in trials])


def entropy_series(results: Results, cell: str, arm: str, layer: str) -> dict[int, Spread]:
    """The entropy of one layer of an arm over the epochs: mean over a trial's networks, then over the trials."""
    held = results.entropies
    curves = [
        {epoch: statistics.fmean(own) for epoch, own in epochs.items()}
        for trial in results.arm(cell, arm).values()
        if (epochs := held.get(trial.trial, {}).get(layer))
    ]
    return over_trials(curves)


def invalid_series(results: Results, cell: str, arm: str, place: int) -> dict[int, Spread]:
    """The share of invalid filters of an arm over the epochs: mean over a trial's networks, then over the trials."""
    curves: list[dict[int, float]] = []
    for trial in results.arm(cell, arm).values():
        epochs: dict[int, list[Carried]] = {}
        for record in results.carried.get(trial.trial, ()):
            epochs.setdefault(record.epoch, []).append(record)
        curves.append({epoch: mean_invalid(own, place) for epoch, own in epochs.items()})
    return over_trials(curves)


def grafting_arms(results: Results, cell: str) -> list[str]:
    """The arms whose networks took shares of each other's weights."""
    return [arm.label for arm in results.study.arms if grafted_layers(results, cell, arm.label)]


def grafted_layers(results: Results, cell: str, arm: str) -> list[str]:
    """The layers of an arm that took a share of a partner's weights."""
    return list(
        dict.fromkeys(
            layer
            for _, layers in _grafts(results, cell, arm)
            for layer, grafts in layers.items()
            if any(graft.share is not None for graft in grafts)
        )
    )


def share_series(results: Results, cell: str, arm: str, layer: str) -> dict[float, list[float]]:
    """What one layer of an arm kept of its own at each graft."""
    found: dict[float, list[float]] = {}
    for trial, layers in _grafts(results, cell, arm):
        for graft in layers.get(layer, ()):
            if graft.share is not None:
                found.setdefault(_time(trial, graft.step), []).append(graft.share)
    return dict(sorted(found.items()))


def distance_series(results: Results, cell: str, arm: str) -> dict[float, list[float]]:
    """How far the networks of an arm were apart right before each graft.

    Returns:
        Time in epochs to one number a network and trial: the mean over its layers.
    """
    found: dict[float, list[float]] = {}
    for trial, layers in _grafts(results, cell, arm):
        apart: dict[tuple[int, int], list[float]] = {}
        for graft in (graft for grafts in layers.values() for graft in grafts):
            if graft.distance is not None:
                apart.setdefault((graft.step, graft.partner), []).append(graft.distance)
        for (step, _), own in apart.items():
            found.setdefault(_time(trial, step), []).append(statistics.fmean(own))
    return dict(sorted(found.items()))


def counted(results: Results, cell: str, held: Collection[str]) -> str:
    """How many trials of each arm something is known of.

    Returns:
        Such as "3 (none), 3 (grafting)"; arms without any are left out.
    """
    return ", ".join(
        f"{n} ({arm.label})"
        for arm in results.study.arms
        if (n := sum(t.trial in held for t in results.arm(cell, arm.label).values()))
    )


def over_trials(curves: Sequence[dict[int, float]]) -> dict[int, Spread]:
    """Put the curves of several trials together.

    Examples:
        >>> over_trials([{1: 0.25, 2: 0.5}, {1: 0.75}])
        {1: (0.5, 0.3535533905932738, 2), 2: (0.5, None, 1)}
    """
    found: dict[int, Spread] = {}
    for epoch in sorted({epoch for curve in curves for epoch in curve}):
        values = [curve[epoch] for curve in curves if epoch in curve]
        spread = statistics.stdev(values) if len(values) > 1 else None
        found[epoch] = (statistics.fmean(values), spread, len(values))
    return found


def _grafts(
    results: Results, cell: str, arm: str
) -> list[tuple[Trial, Mapping[str, tuple[GraftRecord, ...]]]]:
    held = results.grafts
    return [
        (trial, held[trial.trial])
        for trial in results.arm(cell, arm).values()
        if trial.trial in held
    ]


def _time(trial: Trial, step: int) -> float:
    """Epochs that had passed right after a step."""
    epochs = trial.epochs or 1
    return (step + 1) / max((trial.steps or epochs) / epochs, 1.0)
