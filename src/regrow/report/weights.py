"""What weights carry, and what networks took of each other: over time for figures, at the end in tables.

Called by the figures of layers and of grafts, by `diagnostic_tables` and by `summary`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import attrgetter
from statistics import fmean
from typing import Any, TypeVar

from regrow.report import wording
from regrow.report.table import Table, table_of
from regrow.study.grouped import grouped
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import deviation_of, mean_of
from regrow.study.views import BELOW, Carried

Key = TypeVar("Key", bound=Any)

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


def grafted_layers(results: Results, cell: str) -> dict[str, list[str]]:
    """The layers of each arm that took a share of a partner's weights; arms without any are absent."""
    found: dict[str, dict[str, None]] = {}
    for arm in results.study.arms:
        for _, layers in results.of_arm(cell, arm.label, results.grafts):
            for layer, grafts in layers.items():
                if any(graft.share is not None for graft in grafts):
                    found.setdefault(arm.label, {})[layer] = None
    return {arm: list(layers) for arm, layers in found.items()}


def share_series(results: Results, cell: str, arm: str, layer: str) -> dict[float, list[float]]:
    """What one layer of an arm kept of its own at each graft."""
    return gathered(
        (time_of(trial, graft.step), graft.share)
        for trial, layers in results.of_arm(cell, arm, results.grafts)
        for graft in layers.get(layer, ())
    )


def distance_series(results: Results, cell: str, arm: str) -> dict[float, list[float]]:
    """How far the networks of an arm were apart right before each graft, each in the mean over its layers."""
    found: list[tuple[float, float]] = []
    for trial, layers in results.of_arm(cell, arm, results.grafts):
        grafts = chain(*layers.values())
        apart = gathered(((graft.step, graft.partner), graft.distance) for graft in grafts)
        found += [(time_of(trial, step), fmean(own)) for (step, _), own in apart.items()]
    return gathered(found)


def gathered(pairs: Iterable[tuple[Key, float | None]]) -> dict[Key, list[float]]:
    """The numbers that are there by what they are of, in its order."""
    found: dict[Key, list[float]] = {}
    for key, number in pairs:
        if number is not None:
            found.setdefault(key, []).append(number)
    return {key: found[key] for key in sorted(found)}


def counted(results: Results, cell: str, held: Mapping[str, object]) -> str:
    """How many trials of each arm something is known of, such as "3 (none), 3 (grafting)"."""
    return ", ".join(
        f"{n} ({arm.label})"
        for arm in results.study.arms
        if (n := len(results.of_arm(cell, arm.label, held)))
    )


@dataclass(frozen=True, kw_only=True)
class CarriedNumbers:
    """One arm in one cell, after the last epoch: means over the networks of a trial, then over the trials."""

    label: str  # the arm's label
    n: int  # trials that were looked at
    layers: int  # layers that were looked at
    filters: int  # filters of them all
    # Share of filters with an l1 norm below each of the thresholds, as (threshold, share).
    invalid: tuple[tuple[str, float], ...]
    # Sum of the layers' entropies, in nats; None where one is not finite in every trial.
    entropy: float | None
    # Its standard deviation over the trials, with ddof = 1; None below two.
    entropy_std: float | None


def carried(results: Results, cell: str) -> tuple[CarriedNumbers, ...]:
    """What the weights of each arm of a cell that was looked at carry after the last epoch of that."""
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
                    for place, threshold in enumerate(BELOW.values())
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
    """Put the curves of several trials together."""
    found: dict[int, Spread] = {}
    for epoch in sorted({epoch for curve in curves for epoch in curve}):
        values = [curve[epoch] for curve in curves if epoch in curve]
        found[epoch] = (fmean(values), deviation_of(values), len(values))
    return found


def time_of(trial: Trial, step: int) -> float:
    """Epochs that had passed right after a step."""
    epochs = trial.epochs or 1
    return (step + 1) / max((trial.steps or epochs) / epochs, 1.0)


def invalid_table(results: Results, cell: str) -> Table:
    """How many filters have next to no weights at the end, and what all carry; no rows where none was looked at."""
    below: dict[str, Callable[[CarriedNumbers], str]] = {
        f"l1 < {threshold} (%)": partial(_invalid, place)
        for place, threshold in enumerate(BELOW.values())
    }
    return table_of(
        carried(results, cell),
        {
            "Arm": lambda own: own.label,
            "n": lambda own: str(own.n),
            "Layers": lambda own: str(own.layers),
            "Filters": lambda own: str(own.filters),
            **below,
            "Sum of entropies (nats)": lambda own: wording.decimal(own.entropy, digits=2),
            "SD (nats)": lambda own: wording.decimal(own.entropy_std, digits=2),
        },
        caption=(
            "After the last epoch, over all convolutions that do not make the output: share of the filters whose l1 "
            "norm is below each threshold, and the sum of the layers' entropies (10 bins, natural logarithm). Mean "
            "over the networks of a trial, then over n trials; SD: standard deviation over trials."
        ),
    )


def _invalid(place: int, own: CarriedNumbers) -> str:
    return wording.percent(own.invalid[place][1])


def entropy_table(results: Results, cell: str) -> Table:
    """The entropy of each layer after the last epoch; no rows where weights were not looked at."""
    return end_table(
        results,
        cell,
        results.entropies,
        caption=lambda counts, _: (
            "Entropy of each layer's weights (10 bins between the smallest and the largest, nats) after the last "
            "epoch: mean over a trial's networks, then over "
            f"n = {counts} trials, \N{PLUS-MINUS SIGN} standard deviation over trials."
        ),
    )


def end_table(
    results: Results, cell: str, held: ByLayer, *, caption: Callable[[str, list[str]], str]
) -> Table:
    """A number of each layer after the last epoch measured, one column an arm."""
    layers = seen_layers(results, cell, held)
    ends: dict[str, dict[str, Spread]] = {}
    for arm in results.study.arms:
        own = {layer: layer_series(results, cell, arm.label, held, layer) for layer in layers}
        if any(own.values()):
            ends[arm.label] = {layer: found[max(found)] for layer, found in own.items() if found}
    counts = (f"{max(n for _, _, n in own.values())} ({arm})" for arm, own in ends.items())
    return Table(
        caption=caption(", ".join(counts), list(ends)),
        columns=("Layer", "Filters", *ends),
        rows=tuple(
            (layer, str(filters), *(_spread(own.get(layer)) for own in ends.values()))
            for layer, filters in layers.items()
        ),
    )


def share_table(results: Results, cell: str) -> Table:
    """What share of its own weights each layer kept, over all grafts; no rows where nothing was grafted."""
    shares = {
        arm: {
            layer: list(chain(*share_series(results, cell, arm, layer).values()))
            for layer in layers
        }
        for arm, layers in grafted_layers(results, cell).items()
    }
    layers = dict.fromkeys(chain(*shares.values()))
    return Table(
        caption=(
            "Alpha is the share of its own weights that a layer kept when it was grafted, 0.5 half and half. Mean "
            "distance of alpha from 0.5, in brackets its smallest and largest value, over all grafts, networks and "
            f"n = {counted(results, cell, results.grafts)} trials."
        ),
        columns=("Layer", *shares),
        rows=tuple(
            (layer, *(_range(own.get(layer, [])) for own in shares.values())) for layer in layers
        ),
    )


def _spread(end: Spread | None) -> str:
    if end is None:
        return wording.NOTHING
    mean, spread, _ = end
    return f"{mean:.3f}" if spread is None else f"{mean:.3f} \N{PLUS-MINUS SIGN} {spread:.3f}"


def _range(values: list[float]) -> str:
    if not values:
        return wording.NOTHING
    away = fmean(abs(value - 0.5) for value in values)
    return f"{away:.3f} ({min(values):.3f} to {max(values):.3f})"
