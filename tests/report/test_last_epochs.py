"""The mean over the last epochs: from a database that the store wrote, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from regrow.report.diagnostic_tables import last_epochs_table
from regrow.report.html import page
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.study.records import EpochRecord, TrialResult
from report.stored import opened

ARMS = {"none": {"recipe": "none"}, "ro": {"recipe": "randomout"}}
# Tests after epochs 2, 4, 5 and 6: those after 4, 5 and 6 are the last three.
TESTS: dict[str, list[tuple[float, float, float, float]]] = {
    "none": [(0.9, 0.50, 0.60, 0.70), (0.9, 0.52, 0.62, 0.63)],
    "ro": [(0.1, 0.80, 0.70, 0.60), (0.1, 0.70, 0.64, 0.61)],
}


def stored(folder: Path, *, last: int) -> Path:
    train = {"epochs": 6, "eval_every_epochs": 2, "eval_last_epochs": last}
    with opened(folder, arms=ARMS, train=train, seeds=[0, 1]) as store:
        for arm, seeds in TESTS.items():
            for seed, tests in enumerate(seeds):
                known = dict(zip((2, 4, 5, 6), tests, strict=True))
                epochs = tuple(
                    EpochRecord(
                        epoch=epoch,
                        train_loss=1.0,
                        train_accuracy=0.5,
                        test_loss=1.0,
                        test_accuracy=known.get(epoch),
                        seconds=1.0,
                    )
                    for epoch in range(1, 7)
                )
                result = TrialResult(
                    trial=f"base/{arm}/seed{seed}",
                    cell="base",
                    arm=arm,
                    seed=seed,
                    status="finished",
                    majority_share=0.1,
                    epochs=epochs,
                )
                store.write(result, finished_at="2026-01-01T12:00:00+00:00")
    return folder


def test_means_over_the_last_epochs_stand_beside_the_last_one(tmp_path: Path) -> None:
    table = last_epochs_table(read_results(stored(tmp_path, last=3)), "base")
    assert table.columns[:5] == (
        "Arm",
        "n",
        "Last epoch (%)",
        "Mean of the last 3 (%)",
        "Difference (points)",
    )
    none, ro = table.rows
    # none: last (70 + 63) / 2, means 60 and 59; ro: last (60 + 61) / 2, means 70 and 65.
    assert none[:5] == ("none", "2", "66.5", "59.5", "\N{EN DASH}")
    assert ro[:5] == ("ro", "2", "60.5", "67.5", "+8.0")
    assert ro[6] == "too few pairs"


def test_only_where_a_study_tests_after_each_of_several(tmp_path: Path) -> None:
    assert last_epochs_table(read_results(stored(tmp_path, last=1)), "base").rows == ()


@pytest.mark.parametrize(("last", "told"), [(3, True), (1, False)])
def test_the_page_has_the_table(tmp_path: Path, *, last: int, told: bool) -> None:
    results = read_results(stored(tmp_path, last=last))
    text = page(results, summarise(results), [])
    assert ("Mean of the last 3 (%)" in text) is told
