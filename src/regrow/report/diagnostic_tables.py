"""The tables of what trials looked at beside their accuracy; none where nothing was looked at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from regrow.report import wording
from regrow.report.last_epochs import last_epochs_table
from regrow.report.table import Table
from regrow.report.weight_series import overlap_series
from regrow.report.weight_tables import end_table, weight_tables
from regrow.study.records import CorrelationRecord
from regrow.study.results import Results
from regrow.study.statistics import mean_interval


def diagnostic_tables(results: Results, cell: str) -> tuple[tuple[str, str, Table], ...]:
    """All of them for one cell.

    Returns:
        Name of its file, title, table; tables without rows are left out.
    """
    every = (
        ("last-epochs", "The last epochs", last_epochs_table(results, cell)),
        ("picks", "Which layers were picked", picks_table(results, cell)),
        ("overlap", "Overlap at the end", overlap_table(results, cell)),
        ("oracle", "Agreement with the oracle", oracle_table(results, cell)),
        *weight_tables(results, cell),
    )
    return tuple(entry for entry in every if entry[2].rows)


def picks_table(results: Results, cell: str) -> Table:
    """In which layers each arm picked its filters.

    Returns:
        One row a layer, the whole network last; no rows where no arm picked any filter of known layers.
    """
    layers: dict[str, int] = {}
    shares: dict[str, dict[str, float]] = {}
    counts: list[str] = []
    for arm in results.study.arms:
        trials = [
            trial.trial
            for trial in results.arm(cell, arm.label).values()
            if trial.trial in results.picks and results.layers.get(trial.trial)
        ]
        if not trials:
            continue
        decisions = sum(results.picks[trial].decisions for trial in trials)
        counts.append(f"{decisions} in {wording.count(len(trials), 'seed')} ({arm.label})")
        own = results.layers[trials[0]]
        layers |= own
        picked = {
            layer: sum(results.picks[trial].by_layer.get(layer, 0) for trial in trials)
            for layer in own
        }
        shares[arm.label] = {
            layer: picked[layer] / (decisions * filters) for layer, filters in own.items()
        } | {"": sum(picked.values()) / (decisions * sum(own.values()))}
    rows = [
        (layer, str(filters), *(wording.percent(share.get(layer)) for share in shares.values()))
        for layer, filters in layers.items()
    ]
    whole = ("all layers", str(sum(layers.values())))
    rows.append((*whole, *(wording.percent(share[""]) for share in shares.values())))
    return Table(
        caption=(
            "Share of each layer's filters that one decision took (to be dropped, or to be renewed at once), mean over "
            f"the decisions that took any: n = {', '.join(counts)}."
        ),
        columns=("Layer", "Filters", *(f"{label} (%)" for label in shares)),
        rows=tuple(rows) if shares else (),
    )


def overlap_table(results: Results, cell: str) -> Table:
    """How much the filters overlap after the last epoch."""
    return end_table(
        results,
        cell,
        results.overlaps,
        overlap_series,
        caption=lambda counts, arms: (
            "Mean overlap of the filters in the network (sum of |cosine| with the layer's other filters over their "
            "number; no unit) after the last epoch measured: mean \N{PLUS-MINUS SIGN} standard deviation over "
            f"n = {counts} seeds.{_reduced(results, cell, arms)}"
        ),
    )


def oracle_table(results: Results, cell: str) -> Table:
    """How well each ranking of the filters agrees with the oracle's.

    Returns:
        One row an arm and ranking; no rows where no oracle was asked.
    """
    held = results.of(CorrelationRecord)
    rows: list[tuple[str, ...]] = []
    epochs: set[int] = set()
    for arm in results.study.arms:
        trials = [held.get(trial.trial, ()) for trial in results.arm(cell, arm.label).values()]
        epochs |= {found.epoch for trial in trials for found in trial}
        for ranking in dict.fromkeys(found.ranking for trial in trials for found in trial):
            own = [[found for found in trial if found.ranking == ranking] for trial in trials]
            ranks = _by_trial([[found.rank for found in trial] for trial in own])
            values = _by_trial([[found.value for found in trial] for trial in own])
            rows.append(
                (arm.label, ranking, str(len(ranks)), *_mean(ranks), *_mean(values)),
            )
    asked = ", ".join(map(str, sorted(epochs)))
    return Table(
        caption=(
            "Correlation of each ranking of the network's filters with the oracle's, which silences one filter after "
            f"the other on held-out images (drop of accuracy): of ranks (Spearman) and of values (Pearson). "
            f"Mean over epochs {asked} of a trial, then over n trials; CI: bootstrap over trials."
        ),
        columns=("Arm", "Ranking", "n", "Rank", "95 % CI", "Value", "95 % CI"),
        rows=tuple(rows),
        words=frozenset({0, 1}),
    )


def _by_trial(found: Sequence[Sequence[float | None]]) -> list[float]:
    """One mean a trial; trials in which it is not defined at any epoch are left out."""
    known = [[value for value in trial if value is not None] for trial in found]
    return [statistics.fmean(trial) for trial in known if trial]


def _mean(values: Sequence[float]) -> tuple[str, str]:
    if not values:
        return wording.NOTHING, wording.NOTHING
    ends = mean_interval(values)
    written = wording.signed(statistics.fmean(values), digits=2)
    if ends is None:
        return written, wording.NOTHING
    return written, " to ".join(wording.signed(end, digits=2) for end in ends)


def _reduced(results: Results, cell: str, arms: Sequence[str]) -> str:
    """Which arms' values are those of a network that lacks filters: a layer of fewer overlaps less."""
    told: list[str] = []
    for arm in arms:
        drops = [results.drops.get(trial.trial, ()) for trial in results.arm(cell, arm).values()]
        out = [sum(drop.until is None for drop in each) for each in drops]
        if any(out):
            trials = wording.count(sum(map(bool, out)), "trial")
            told.append(f"{wording.count(sum(out), 'filter')} in {trials} ({arm})")
    if not told:
        return ""
    return (
        f" Not like with like: at the end {', '.join(told)} were out of the network, and a layer is then what is left "
        "of it."
    )
