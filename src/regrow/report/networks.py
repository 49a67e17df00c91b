"""What is known of the single networks of a trial, as frozen records, and how it is read from the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

THRESHOLDS: Final = ("1", "0.1", "0.01", "0.001")
"""l1 norms under which a filter counts as invalid."""


@dataclass(frozen=True, kw_only=True)
class Partner:
    """One of several networks of a trial.

    Args:
        number: Its number, from 0.
        lr: Its learning rate before any schedule.
        accuracies: Epoch to test accuracy; epochs without an evaluation are absent.
    """

    number: int
    lr: float
    accuracies: Mapping[int, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graft:
    """One layer of one network that took a share of its partner's weights.

    Args:
        step: Optimizer step, 0-based.
        partner: Number of the network.
        share: What it kept of its own; None if not finite.
        distance: Between both weights before, as a share of the mean of their lengths; None if not finite.
    """

    step: int
    partner: int
    share: float | None
    distance: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What the weights of one network carry after one epoch, over all layers that are looked at.

    Args:
        epoch: 1-based.
        partner: Number of the network.
        entropy: Sum of the layers' entropies, in nats; None if one is not finite.
        invalid: Share of the filters whose l1 norm is below each of `THRESHOLDS`, over all layers' filters.
    """

    epoch: int
    partner: int
    entropy: float | None
    invalid: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """All of it, by the trial's key; a trial is absent where it has none.

    Args:
        partners: The networks of a trial that has several, in their order.
        together: What they are worth as one: "ensemble", "mean weights" and "best" to a test accuracy.
        grafts: Layer to what the networks took from each other there, in order.
        carried: What the weights carry, by epoch and network.
        entropies: Layer to epoch to the entropies of the networks, in their order.
    """

    partners: Mapping[str, tuple[Partner, ...]] = field(
        default_factory=dict[str, tuple[Partner, ...]]
    )
    together: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, dict[str, float]])
    grafts: Mapping[str, Mapping[str, tuple[Graft, ...]]] = field(
        default_factory=dict[str, dict[str, tuple[Graft, ...]]]
    )
    carried: Mapping[str, tuple[Carried, ...]] = field(
        default_factory=dict[str, tuple[Carried, ...]]
    )
    entropies: Mapping[str, Mapping[str, Mapping[int, tuple[float, ...]]]] = field(
        default_factory=dict[str, dict[str, dict[int, tuple[float, ...]]]]
    )


def read_networks(database: sqlite3.Connection) -> Networks:
    """Read what a results file of version 3 holds.

    Args:
        database: Within the transaction in which the rest is read.

    Returns:
        The networks; empty parts where nothing was recorded.
    """
    together: dict[str, dict[str, float]] = {}
    for trial, how, accuracy in database.execute(
        "SELECT trial, how, test_accuracy FROM together WHERE test_accuracy IS NOT NULL"
    ):
        together.setdefault(trial, {})[how] = accuracy
    entropies: dict[str, dict[str, dict[int, tuple[float, ...]]]] = {}
    for trial, epoch, layer, entropy in database.execute(
        "SELECT trial, epoch, layer, entropy FROM weights WHERE entropy IS NOT NULL ORDER BY rowid"
    ):
        epochs = entropies.setdefault(trial, {}).setdefault(layer, {})
        epochs[epoch] = (*epochs.get(epoch, ()), entropy)
    return Networks(
        partners=_partners(database),
        together=together,
        grafts=_grafts(database),
        carried=_carried(database),
        entropies=entropies,
    )


def _partners(database: sqlite3.Connection) -> dict[str, tuple[Partner, ...]]:
    rates: dict[str, dict[int, float]] = {}
    curves: dict[tuple[str, int], dict[int, float]] = {}
    for trial, partner, epoch, lr, accuracy in database.execute(
        "SELECT trial, partner, epoch, lr, test_accuracy FROM partners ORDER BY trial, partner, epoch"
    ):
        rates.setdefault(trial, {})[partner] = lr
        if accuracy is not None:
            curves.setdefault((trial, partner), {})[epoch] = accuracy
    return {
        trial: tuple(
            Partner(number=number, lr=lr, accuracies=curves.get((trial, number), {}))
            for number, lr in own.items()
        )
        for trial, own in rates.items()
    }


def _grafts(database: sqlite3.Connection) -> dict[str, dict[str, tuple[Graft, ...]]]:
    grafts: dict[str, dict[str, list[Graft]]] = {}
    for trial, step, partner, layer, share, distance in database.execute(
        "SELECT trial, step, partner, layer, share, distance FROM grafts ORDER BY rowid"
    ):
        found = Graft(step=step, partner=partner, share=share, distance=distance)
        grafts.setdefault(trial, {}).setdefault(layer, []).append(found)
    return {
        trial: {layer: tuple(found) for layer, found in layers.items()}
        for trial, layers in grafts.items()
    }


def _carried(database: sqlite3.Connection) -> dict[str, tuple[Carried, ...]]:
    """Sums over the layers; a layer has as many votes as it has filters."""
    carried: dict[str, list[Carried]] = {}
    for trial, epoch, partner, layers, finite, entropy, *shares in database.execute(
        "SELECT trial, epoch, partner, COUNT(*), COUNT(entropy), SUM(entropy), "
        "SUM(below_1 * filters) / SUM(filters), SUM(below_0_1 * filters) / SUM(filters), "
        "SUM(below_0_01 * filters) / SUM(filters), SUM(below_0_001 * filters) / SUM(filters) "
        "FROM weights JOIN layers USING (trial, layer) "
        "GROUP BY trial, epoch, partner ORDER BY trial, epoch, partner"
    ):
        found = Carried(
            epoch=epoch,
            partner=partner,
            entropy=entropy if finite == layers else None,
            invalid=tuple(shares),
        )
        carried.setdefault(trial, []).append(found)
    return {trial: tuple(found) for trial, found in carried.items()}
