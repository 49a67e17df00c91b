"""What trials looked at beside their accuracy, as frozen records, and how it is read from the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One filter's time out of the network.

    Args:
        layer: Module path.
        filter: Index in the layer.
        since: The optimizer step after which it left, 0-based.
        until: The step after which it came back; None if the training ended before.
    """

    layer: str
    filter: int
    since: int
    until: int | None


@dataclass(frozen=True, kw_only=True)
class Picks:
    """Which layers a trial's filters were picked in.

    Args:
        decisions: Optimizer steps at which any filter was picked, to be dropped or to be renewed at once.
        by_layer: Filters picked over all decisions, by layer.
    """

    decisions: int
    by_layer: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """How well one ranking of the filters agrees with the oracle's.

    Args:
        epoch: 1-based.
        ranking: Name of the ranking.
        value: Pearson's correlation of the scores; None where it is not defined.
        rank: Spearman's; None where it is not defined.
        filters: Filters that were ranked.
    """

    epoch: int
    ranking: str
    value: float | None
    rank: float | None
    filters: int


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """All of it, by the trial's key; a trial is absent where it has none.

    Args:
        layers: Number of filters of each watched layer, in the network's order.
        overlaps: Mean overlap by layer and epoch.
        drops: Times out of the network, in order.
        picks: Which layers were picked.
        correlations: Agreement with the oracle.
    """

    layers: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, dict[str, int]])
    overlaps: Mapping[str, Mapping[str, Mapping[int, float]]] = field(
        default_factory=dict[str, dict[str, dict[int, float]]]
    )
    drops: Mapping[str, tuple[Drop, ...]] = field(default_factory=dict[str, tuple[Drop, ...]])
    picks: Mapping[str, Picks] = field(default_factory=dict[str, Picks])
    correlations: Mapping[str, tuple[Correlation, ...]] = field(
        default_factory=dict[str, tuple[Correlation, ...]]
    )


def read_diagnostics(database: sqlite3.Connection) -> Diagnostics:
    """Read what a results file of version 2 holds.

    Args:
        database: Within the transaction in which the rest is read.

    Returns:
        The diagnostics; empty parts where nothing was looked at.
    """
    layers: dict[str, dict[str, int]] = {}
    for trial, layer, filters in database.execute(
        "SELECT trial, layer, filters FROM layers ORDER BY rowid"
    ):
        layers.setdefault(trial, {})[layer] = filters
    overlaps: dict[str, dict[str, dict[int, float]]] = {}
    for trial, epoch, layer, mean in database.execute(
        "SELECT trial, epoch, layer, mean FROM overlaps WHERE mean IS NOT NULL ORDER BY rowid"
    ):
        overlaps.setdefault(trial, {}).setdefault(layer, {})[epoch] = mean
    drops: dict[str, list[Drop]] = {}
    for trial, layer, index, since, until in database.execute(
        "SELECT trial, layer, filter, dropped, step FROM renewals WHERE dropped IS NOT NULL "
        "UNION ALL SELECT trial, layer, filter, dropped, NULL FROM resting"
    ):
        drop = Drop(layer=layer, filter=index, since=since, until=until)
        drops.setdefault(trial, []).append(drop)
    correlations: dict[str, list[Correlation]] = {}
    for trial, epoch, ranking, value, rank, filters in database.execute(
        "SELECT trial, epoch, ranking, value, rank, filters FROM correlations ORDER BY rowid"
    ):
        found = Correlation(epoch=epoch, ranking=ranking, value=value, rank=rank, filters=filters)
        correlations.setdefault(trial, []).append(found)
    return Diagnostics(
        layers=layers,
        overlaps=overlaps,
        drops={trial: tuple(found) for trial, found in drops.items()},
        picks=_picks(database),
        correlations={trial: tuple(found) for trial, found in correlations.items()},
    )


def _picks(database: sqlite3.Connection) -> dict[str, Picks]:
    picked = (
        "(SELECT trial, layer, COALESCE(dropped, step) AS decision FROM renewals "
        "UNION ALL SELECT trial, layer, dropped FROM resting)"
    )
    by_layer: dict[str, dict[str, int]] = {}
    for trial, layer, filters in database.execute(
        f"SELECT trial, layer, COUNT(*) FROM {picked} GROUP BY trial, layer"  # noqa: S608 # a constant
    ):
        by_layer.setdefault(trial, {})[layer] = filters
    decisions = database.execute(
        f"SELECT trial, COUNT(DISTINCT decision) FROM {picked} GROUP BY trial"  # noqa: S608 # a constant
    )
    return {trial: Picks(decisions=number, by_layer=by_layer[trial]) for trial, number in decisions}
