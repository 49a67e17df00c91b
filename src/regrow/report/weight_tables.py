"""The tables of what the weights carry: invalid filters, entropies, and the shares that networks kept."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from itertools import chain

from regrow.report import wording
from regrow.report.table import Table, table_of
from regrow.report.weight_series import (
    ByLayer,
    CarriedNumbers,
    Spread,
    carried,
    counted,
    grafted_layers,
    grafting_arms,
    layer_series,
    seen_layers,
    share_series,
)
from regrow.study.results import Results
from regrow.study.views import THRESHOLDS


def weight_tables(results: Results, cell: str) -> tuple[tuple[str, str, Table], ...]:
    """All of them for one cell."""
    return (
        ("invalid", "Invalid filters and entropy", invalid_table(results, cell)),
        ("entropy", "Entropy of the layers at the end", entropy_table(results, cell)),
        ("alpha", "Shares that the networks kept", share_table(results, cell)),
    )


def invalid_table(results: Results, cell: str) -> Table:
    """How many filters have next to no weights at the end, and what all weights carry.

    Returns:
        One row an arm; no rows where weights were not looked at.
    """
    below: dict[str, Callable[[CarriedNumbers], str]] = {
        f"l1 < {threshold} (%)": partial(_invalid, place)
        for place, threshold in enumerate(THRESHOLDS)
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
    """The entropy of each layer after the last epoch.

    Returns:
        One row a layer; no rows where weights were not looked at.
    """
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
    """What share of its own weights each layer kept, over all grafts.

    Returns:
        One row a layer; no rows where no network took anything from another.
    """
    shares = {
        arm: {
            layer: list(chain(*share_series(results, cell, arm, layer).values()))
            for layer in grafted_layers(results, cell, arm)
        }
        for arm in grafting_arms(results, cell)
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
    away = statistics.fmean(abs(value - 0.5) for value in values)
    return f"{away:.3f} ({min(values):.3f} to {max(values):.3f})"
