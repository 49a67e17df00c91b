"""Numbers over time, for tables and figures alike: shares, distances, entropies, invalid filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from statistics import fmean

from regrow.report.carried import mean_invalid
from regrow.study.grouped import grouped
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import deviation_of

Spread = tuple[float, float | None, int]
"""Mean, standard deviation (None for a single trial) and number of trials."""

ByLayer = Mapping[str, Mapping[str, Mapping[int, float]]]
"""A number by trial, layer and epoch, as `Views` has them."""


def seen_layers(results: Results, cell: str, held: Mapping[str, object]) -> dict[str, int]:
    """The layers of a cell's trials of which something is known, with their numbers of filters."""
    found: dict[str, int] = {}
    for trial in results.trials_in(cell):
        if trial.trial in held:
            for layer, filters in results.layers.get(trial.trial, {}).items():
                found.setdefault(layer, filters)
    return found


def layer_series(
    results: Results, cell: str, arm: str, held: ByLayer, layer: str
) -> dict[int, Spread]:
    """The number of one layer of an arm over the epochs, over the trials."""
    return over_trials([layers.get(layer, {}) for _, layers in results.of_arm(cell, arm, held)])


def invalid_series(results: Results, cell: str, arm: str, place: int) -> dict[int, Spread]:
    """The share of invalid filters of an arm over the epochs: mean over a trial's networks, then over the trials."""
    epochs = [
        grouped(records, attrgetter("epoch"))
        for _, records in results.of_arm(cell, arm, results.carried)
    ]
    return over_trials(
        [{e: mean_invalid(own, place) for e, own in each.items()} for each in epochs]
    )


def grafting_arms(results: Results, cell: str) -> list[str]:
    """The arms whose networks took shares of each other's weights."""
    return [arm.label for arm in results.study.arms if grafted_layers(results, cell, arm.label)]


def grafted_layers(results: Results, cell: str, arm: str) -> list[str]:
    """The layers of an arm that took a share of a partner's weights."""
    return list(
        dict.fromkeys(
            layer
            for _, layers in results.of_arm(cell, arm, results.grafts)
            for layer, grafts in layers.items()
            if any(graft.share is not None for graft in grafts)
        )
    )


def share_series(results: Results, cell: str, arm: str, layer: str) -> dict[float, list[float]]:
    """What one layer of an arm kept of its own at each graft."""
    found: dict[float, list[float]] = {}
    for trial, layers in results.of_arm(cell, arm, results.grafts):
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
    for trial, layers in results.of_arm(cell, arm, results.grafts):
        apart: dict[tuple[int, int], list[float]] = {}
        for graft in (graft for grafts in layers.values() for graft in grafts):
            if graft.distance is not None:
                apart.setdefault((graft.step, graft.partner), []).append(graft.distance)
        for (step, _), own in apart.items():
            found.setdefault(_time(trial, step), []).append(fmean(own))
    return dict(sorted(found.items()))


def counted(results: Results, cell: str, held: Mapping[str, object]) -> str:
    """How many trials of each arm something is known of.

    Returns:
        Such as "3 (none), 3 (grafting)"; arms without any are left out.
    """
    return ", ".join(
        f"{n} ({arm.label})"
        for arm in results.study.arms
        if (n := len(results.of_arm(cell, arm.label, held)))
    )


def over_trials(curves: Sequence[Mapping[int, float]]) -> dict[int, Spread]:
    """Put the curves of several trials together.

    Examples:
        >>> over_trials([{1: 0.25, 2: 0.5}, {1: 0.75}])
        {1: (0.5, 0.3535533905932738, 2), 2: (0.5, None, 1)}
    """
    found: dict[int, Spread] = {}
    for epoch in sorted({epoch for curve in curves for epoch in curve}):
        values = [curve[epoch] for curve in curves if epoch in curve]
        found[epoch] = (fmean(values), deviation_of(values), len(values))
    return found


def _time(trial: Trial, step: int) -> float:
    """Epochs that had passed right after a step."""
    epochs = trial.epochs or 1
    return (step + 1) / max((trial.steps or epochs) / epochs, 1.0)
