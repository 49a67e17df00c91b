"""What weights carry, for tables and figures alike: over time, and at the end of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean

from regrow.study.grouped import grouped
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import deviation_of, mean_of
from regrow.study.views import THRESHOLDS, Carried

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
        [{e: _mean_invalid(own, place) for e, own in each.items()} for each in epochs]
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


@dataclass(frozen=True, kw_only=True)
class CarriedNumbers:
    """One arm in one cell, after the last epoch: means over the networks of a trial, then over the trials.

    Args:
        label: The arm's label.
        n: Trials that were looked at.
        layers: Layers that were looked at.
        filters: Filters of them all.
        invalid: Share of filters with an l1 norm below each of the thresholds, as (threshold, share).
        entropy: Sum of the layers' entropies, in nats; None where one is not finite in every trial.
        entropy_std: Its standard deviation over the trials, with ddof = 1; None below two.
    """

    label: str
    n: int
    layers: int
    filters: int
    invalid: tuple[tuple[str, float], ...]
    entropy: float | None
    entropy_std: float | None


def carried(results: Results, cell: str) -> tuple[CarriedNumbers, ...]:
    """What the weights of each arm of a cell carry after the last epoch that was looked at.

    Returns:
        One entry an arm, in the study's order; arms that were not looked at are absent.
    """
    found: list[CarriedNumbers] = []
    for arm in results.study.arms:
        known = results.of_arm(cell, arm.label, results.carried)
        if not known:
            continue
        ends = [_at_the_end(records) for _, records in known]
        entropies = [mean_of(network.entropy for network in own) for own in ends]
        layers = results.layers[known[0][0].trial]
        found.append(
            CarriedNumbers(
                label=arm.label,
                n=len(known),
                layers=len(layers),
                filters=sum(layers.values()),
                invalid=tuple(
                    (threshold, fmean(_mean_invalid(own, place) for own in ends))
                    for place, threshold in enumerate(THRESHOLDS)
                ),
                entropy=mean_of(entropies),
                entropy_std=deviation_of(entropies),
            )
        )
    return tuple(found)


def _at_the_end(records: Sequence[Carried]) -> list[Carried]:
    """The networks of a trial after its last epoch."""
    last = max(record.epoch for record in records)
    return [record for record in records if record.epoch == last]


def _mean_invalid(records: Sequence[Carried], place: int) -> float:
    """Share of invalid filters, mean over networks."""
    return fmean(record.invalid[place] for record in records)


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
