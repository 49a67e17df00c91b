"""The tables of what the weights carry: invalid filters, entropies, and the shares that networks kept."""

from __future__ import annotations

import statistics

from regrow.report import wording
from regrow.report.carried import carried
from regrow.report.table import Table
from regrow.report.weight_series import entropy_series, grafted_layers, seen_layers, share_series
from regrow.study.results import Results
from regrow.study.views import THRESHOLDS


def weight_tables(results: Results, cell: str) -> tuple[tuple[str, str, Table], ...]:
    """All of them for one cell.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        Name of its file, title, table; some may have no rows.
    """
    return (
        ("invalid", "Invalid filters and entropy", invalid_table(results, cell)),
        ("entropy", "Entropy of the layers at the end", entropy_table(results, cell)),
        ("alpha", "Shares that the networks kept", share_table(results, cell)),
    )


def invalid_table(results: Results, cell: str) -> Table:
    """How many filters have next to no weights at the end, and what all weights carry.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        One row an arm; no rows where weights were not looked at.
    """
    found = carried(results, cell)
    return Table(
        caption=(
            "After the last epoch, over all convolutions that do not make the output: share of the filters whose l1 "
            "norm is below each threshold, and the sum of the layers' entropies (10 bins, natural logarithm). Mean "
            "over the networks of a trial, then over n trials; SD: standard deviation over trials."
        ),
        columns=(
            "Arm",
            "n",
            "Layers",
            "Filters",
            *(f"l1 < {threshold} (%)" for threshold in THRESHOLDS),
            "Sum of entropies (nats)",
            "SD (nats)",
        ),
        rows=tuple(
            (
                own.label,
                str(own.n),
                str(own.layers),
                str(own.filters),
                *(wording.percent(share) for _, share in own.invalid),
                wording.NOTHING if own.entropy is None else f"{own.entropy:.2f}",
                wording.NOTHING if own.entropy_std is None else f"{own.entropy_std:.2f}",
            )
            for own in found
        ),
    )


def entropy_table(results: Results, cell: str) -> Table:
    """The entropy of each layer after the last epoch.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        One row a layer; no rows where weights were not looked at.
    """
    layers = seen_layers(results, cell, results.networks.entropies)
    series = {
        arm.label: {layer: entropy_series(results, cell, arm.label, layer) for layer in layers}
        for arm in results.study.arms
    }
    series = {label: own for label, own in series.items() if any(own.values())}
    counts = ", ".join(
        f"{max(max(layer.values(), key=_seeds)[2] for layer in own.values() if layer)} ({label})"
        for label, own in series.items()
    )
    return Table(
        caption=(
            "Entropy of each layer's weights (10 bins between the smallest and the largest, nats) after the last "
            "epoch: mean over a trial's networks, then over "
            f"n = {counts} trials, \N{PLUS-MINUS SIGN} standard deviation over trials."
        ),
        columns=("Layer", "Filters", *series),
        rows=tuple(
            (layer, str(filters), *(_at_the_end(own[layer]) for own in series.values()))
            for layer, filters in layers.items()
        ),
    )


def share_table(results: Results, cell: str) -> Table:
    """What share of its own weights each layer kept, over all grafts.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        One row a layer; no rows where no network took anything from another.
    """
    layers: list[str] = []
    shares: dict[str, dict[str, list[float]]] = {}
    counts: list[str] = []
    for arm in results.study.arms:
        own = grafted_layers(results, cell, arm.label)
        if not own:
            continue
        layers += [layer for layer in own if layer not in layers]
        shares[arm.label] = {
            layer: [
                share
                for values in share_series(results, cell, arm.label, layer).values()
                for share in values
            ]
            for layer in own
        }
        trials = sum(
            trial.trial in results.networks.grafts
            for trial in results.arm(cell, arm.label).values()
        )
        counts.append(f"{trials} ({arm.label})")
    return Table(
        caption=(
            "Alpha is the share of its own weights that a layer kept when it was grafted, 0.5 half and half. Mean "
            "distance of alpha from 0.5, in brackets its smallest and largest value, over all grafts, networks and "
            f"n = {', '.join(counts)} trials."
        ),
        columns=("Layer", *shares),
        rows=tuple(
            (layer, *(_range(own.get(layer, [])) for own in shares.values())) for layer in layers
        ),
    )


def _seeds(value: tuple[float, float | None, int]) -> int:
    return value[2]


def _at_the_end(series: dict[int, tuple[float, float | None, int]]) -> str:
    if not series:
        return wording.NOTHING
    mean, spread, _ = series[max(series)]
    return f"{mean:.3f}" if spread is None else f"{mean:.3f} \N{PLUS-MINUS SIGN} {spread:.3f}"


def _range(values: list[float]) -> str:
    if not values:
        return wording.NOTHING
    away = statistics.fmean(abs(value - 0.5) for value in values)
    return f"{away:.3f} ({min(values):.3f} to {max(values):.3f})"
