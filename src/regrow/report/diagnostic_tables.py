"""The tables of what trials looked at beside their last accuracy; none where nothing was looked at.

Called by the page and the export.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Final

from regrow.report import wording
from regrow.report.compared import Reached, compare, majority_share, reached
from regrow.report.findings import Comparison
from regrow.report.table import Table, last_differences, table_of
from regrow.report.task_tables import chance_table, tasks_table
from regrow.report.unit import ACCURACY
from regrow.report.weights import end_table, entropy_table, invalid_table, share_table
from regrow.study.records import CorrelationRecord, RestingRecord
from regrow.study.results import Results
from regrow.study.statistics import mean_interval, mean_of

_ALL: Final = "all layers"


def diagnostic_tables(results: Results, cell: str) -> tuple[tuple[str, str, Table], ...]:
    """All of them for one cell that have rows: name of its file, title, table."""
    every = (
        ("tasks", "Over the tasks", tasks_table(results, cell)),
        ("chance", "Criterion against chance", chance_table(results, cell)),
        ("last-epochs", "The last epochs", last_epochs_table(results, cell)),
        ("picks", "Which layers were picked", picks_table(results, cell)),
        ("overlap", "Overlap at the end", overlap_table(results, cell)),
        ("oracle", "Agreement with the oracle", oracle_table(results, cell)),
        ("invalid", "Invalid filters and entropy", invalid_table(results, cell)),
        ("entropy", "Entropy of the layers at the end", entropy_table(results, cell)),
        ("alpha", "Shares that the networks kept", share_table(results, cell)),
    )
    return tuple(entry for entry in every if entry[2].rows)


def last_epochs_table(results: Results, cell: str) -> Table:
    """What each arm reached in the last epochs; no rows where the study tests after the last alone."""
    train = results.study.document.get("train")
    count: int = train.get("eval_last_epochs", 1) if isinstance(train, dict) else 1
    baseline, share = results.study.baseline, majority_share(results, cell)
    ends = {
        arm.label: reached(arm.label, results.arm(cell, arm.label)) for arm in results.study.arms
    }
    means = {label: averaged(results, cell, end, count) for label, end in ends.items()}
    rows: list[tuple[Reached, Reached, Comparison | None]] = []
    for label, own in means.items() if count > 1 else ():
        found = None
        if label != baseline:
            found = compare(own, means[baseline], role="baseline", share=share)
        rows.append((ends[label], own, found))
    return table_of(
        rows,
        {
            "Arm": lambda row: row[0].name,
            "n": lambda row: str(len(row[0].accuracies)),
            "Last epoch (%)": lambda row: wording.percent(mean_of(row[0].accuracies.values())),
            f"Mean of the last {count} (%)": lambda row: wording.percent(
                mean_of(row[1].accuracies.values())
            ),
            **last_differences(ACCURACY, "Difference", "95 % CI", "Verdict", "Wilcoxon p"),
        },
        caption=(
            f"Test accuracy in the last epoch, and its mean over the last {count} epochs of a trial; both over the n "
            f"trials that ended. Difference: of the means over epochs, paired, from {baseline}; CI and Wilcoxon as in "
            "the table of pairs."
        ),
        words={"Arm", "Verdict"},
    )


def averaged(results: Results, cell: str, arm: Reached, count: int) -> Reached:
    """An arm by the mean over the last `count` epochs of each trial, those without a test left out."""
    found: dict[int, float | None] = dict(arm.accuracies)
    for seed, trial in results.arm(cell, arm.name).items():
        tests = results.accuracies.get(trial.trial, {})
        last = [tests[epoch] for epoch in tests if epoch > (trial.epochs or 0) - count]
        if found[seed] is not None and last:
            found[seed] = mean_of(last)
    return arm._replace(accuracies=found)


def picks_table(results: Results, cell: str) -> Table:
    """In which layers each arm picked its filters, the whole network last; no rows where no arm picked any."""
    layers: dict[str, int] = {}
    shares: dict[str, dict[str, float]] = {}
    counts: list[str] = []
    for arm in results.study.arms:
        known = [
            (results.layers[trial.trial], picks)
            for trial, picks in results.of_arm(cell, arm.label, results.picks)
            if trial.trial in results.layers
        ]
        if not known:
            continue
        own, picks = known[0][0], [found for _, found in known]
        decisions = sum(each.decisions for each in picks)
        counts.append(f"{decisions} in {wording.count(len(picks), 'seed')} ({arm.label})")
        layers |= own
        picked = sum((each.by_layer for each in picks), Counter[str]())
        shares[arm.label] = {
            layer: picked[layer] / (decisions * filters) for layer, filters in own.items()
        } | {_ALL: sum(picked[layer] for layer in own) / (decisions * sum(own.values()))}
    rows = [
        (layer, str(filters), *(wording.percent(share.get(layer)) for share in shares.values()))
        for layer, filters in (*layers.items(), (_ALL, sum(layers.values())))
    ]
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
        caption=lambda counts, arms: (
            "Mean overlap of the filters in the network (sum of |cosine| with the layer's other filters over their "
            "number; no unit) after the last epoch measured: mean \N{PLUS-MINUS SIGN} standard deviation over "
            f"n = {counts} seeds.{_reduced(results, cell, arms)}"
        ),
    )


def oracle_table(results: Results, cell: str) -> Table:
    """How well each ranking of the filters agrees with the oracle's; no rows where no oracle was asked."""
    held = results.of(CorrelationRecord)
    rows: list[tuple[str, ...]] = []
    epochs: set[int] = set()
    for arm in results.study.arms:
        trials = [found for _, found in results.of_arm(cell, arm.label, held)]
        epochs |= {found.epoch for trial in trials for found in trial}
        for ranking in dict.fromkeys(found.ranking for trial in trials for found in trial):
            own = [[found for found in trial if found.ranking == ranking] for trial in trials]
            ranks = [mean_of(found.rank for found in trial) for trial in own]
            values = [mean_of(found.value for found in trial) for trial in own]
            n = sum(rank is not None for rank in ranks)
            rows.append((arm.label, ranking, str(n), *_mean(ranks), *_mean(values)))
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


def _mean(means: Sequence[float | None]) -> tuple[str, str]:
    """The mean over trials and its interval; trials in which it is not defined at any epoch are left out."""
    values = [mean for mean in means if mean is not None]
    if not values:
        return wording.NOTHING, wording.NOTHING
    ends = mean_interval(values)
    written = wording.signed(fmean(values), digits=2)
    if ends is None:
        return written, wording.NOTHING
    return written, " to ".join(wording.signed(end, digits=2) for end in ends)


def _reduced(results: Results, cell: str, arms: Sequence[str]) -> str:
    """Which arms' values are those of a network that lacks filters: a layer of fewer overlaps less."""
    told: list[str] = []
    held = results.of(RestingRecord)
    for arm in arms:
        resting = [len(found) for _, found in results.of_arm(cell, arm, held)]
        if resting:
            trials = wording.count(len(resting), "trial")
            told.append(f"{wording.count(sum(resting), 'filter')} in {trials} ({arm})")
    if not told:
        return ""
    return (
        f" Not like with like: at the end {', '.join(told)} were out of the network, and a layer is then what is left "
        "of it."
    )
