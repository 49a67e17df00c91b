"""The mean over the last epochs of each arm, beside the last one: at a constant rate single epochs swing."""

from __future__ import annotations

from regrow.report import wording
from regrow.report.compared import Reached, compare, majority_share, reached
from regrow.report.findings import Comparison
from regrow.report.table import DIFFERENCE, Table, of_last, table_of
from regrow.study.results import Results
from regrow.study.statistics import mean_of

Row = tuple[Reached, Reached, Comparison | None]
"""An arm in the last epoch, its means over the last ones, and these compared with the baseline's."""


def last_epochs_table(results: Results, cell: str) -> Table:
    """What each arm reached in the last epochs, where the study tests after each of several.

    Returns:
        One row an arm; no rows where only the last epoch is tested.
    """
    train = results.study.document.get("train")
    count: int = train.get("eval_last_epochs", 1) if isinstance(train, dict) else 1
    baseline, share = results.study.baseline, majority_share(results, cell)
    ends = {
        arm.label: reached(arm.label, results.arm(cell, arm.label)) for arm in results.study.arms
    }
    means = {label: averaged(results, cell, end, count) for label, end in ends.items()}
    rows: list[Row] = []
    for label, own in means.items() if count > 1 else ():
        found = None
        if label != baseline:
            found = compare(own, means[baseline], role="baseline", share=share)
        rows.append((ends[label], own, found))
    shown = ("Difference (points)", "95 % CI (points)", "Verdict", "Wilcoxon p")
    return table_of(
        rows,
        {
            "Arm": lambda row: row[0].name,
            "n": lambda row: str(len(row[0].accuracies)),
            "Last epoch (%)": lambda row: wording.percent(mean_of(row[0].accuracies.values())),
            f"Mean of the last {count} (%)": lambda row: wording.percent(
                mean_of(row[1].accuracies.values())
            ),
            **{name: of_last(DIFFERENCE[name]) for name in shown},
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
