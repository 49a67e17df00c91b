"""The numbers of the report, against the synthetic studies they are computed from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regrow.errors import StoreError
from regrow.report.read import read_results
from regrow.report.summary import failed_seeds, summarise, summary_document

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]


def test_every_arm_is_compared_with_the_baseline_and_the_recipe_with_its_control(
    rescued: Path,
) -> None:
    (cell,) = summarise(read_results(rescued)).cells
    assert [(c.arm, c.versus, c.role) for c in cell.comparisons] == [
        ("randomout", "none", "baseline"),
        ("random", "none", "baseline"),
        ("randomout", "random", "control"),
    ]
    against = cell.comparison("randomout", "none")
    assert against is not None
    assert against.outcome == "gain"
    assert cell.comparison("none", "randomout") is None


def test_failures_of_every_kind_are_counted(partial: Path) -> None:
    cell = summarise(read_results(partial)).cells[0]
    assert cell.cell == "train.lr=0.03"
    arm = cell.arm("randomout")
    assert (arm.accuracy.n, arm.accuracy.failed, arm.accuracy.crashed, arm.diverged) == (
        10,
        2,
        1,
        1,
    )
    # eight finished seeds 0.86 ... 0.867 and the diverged one's 0.61
    assert arm.accuracy.mean == pytest.approx((sum(0.86 + k / 1000 for k in range(8)) + 0.61) / 9)
    assert (arm.renewed, arm.trials_renewed) == (1.0, 9)
    assert (cell.arm("random").missing, cell.ended, cell.expected) == (9, 21, 30)
    against = cell.comparison("randomout", "none")
    assert against is not None
    assert (against.numbers.n, against.numbers.both, against.numbers.crashed) == (9, 10, 1)
    assert (against.numbers.failed_a_only, against.numbers.failed_b_only) == (2, 4)


def test_too_few_pairs_are_never_called_a_gain(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(6))
    for seed in range(5):
        run.add("none", seed, 0.6)
        run.add("randomout", seed, 0.9 + seed / 100)
    folder = run.folder

    def outcome() -> str:
        found = summarise(read_results(folder)).cells[0].comparison("randomout", "none")
        assert found is not None
        return found.outcome

    assert outcome() == "too few"
    run.add("none", 5, 0.6)
    run.add("randomout", 5, 0.9)
    assert outcome() == "gain"
    run.close()


def test_harm_is_called_harm_and_a_coin_toss_is_not(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(12))
    for seed in range(12):
        run.add("none", seed, 0.8)
        run.add("randomout", seed, 0.6 + seed / 100)
        run.add("random", seed, 0.8 + (0.1 if seed % 2 else -0.1))
    (cell,) = summarise(read_results(run.close())).cells
    found = {(c.arm, c.versus): c.outcome for c in cell.comparisons}
    assert found["randomout", "none"] == "harm"
    assert found["random", "none"] == "unclear"


def test_extra_time_is_per_step_over_common_seeds(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(3))
    run.add("none", 0, 0.9, seconds=10.0, recipe_seconds=0.0)
    run.add("none", 1, 0.9, seconds=10.0, recipe_seconds=0.0)
    run.add("none", 2, 0.9, seconds=1000.0, recipe_seconds=0.0)  # no partner: not in the ratio
    run.add("randomout", 0, 0.9, seconds=12.0, recipe_seconds=2.0)
    # stopped half-way after half the time: as slow per step as its neighbour
    run.add("randomout", 1, 0.5, status="diverged", seconds=12.0, recipe_seconds=1.0)
    (cell,) = summarise(read_results(run.close())).cells
    arm = cell.arm("randomout")
    assert arm.extra_time == pytest.approx(0.2)
    assert arm.recipe_time == pytest.approx(3.0 / 15.0)
    assert arm.seconds == pytest.approx(9.0)
    assert cell.arm("none").extra_time is None


def test_a_study_without_trials_has_no_cells(new_run: Callable[..., RunFolder]) -> None:
    found = summarise(read_results(new_run().close()))
    assert (found.cells, found.ended, found.missing, found.comparisons) == ((), 0, 72, 0)


def test_a_cell_in_which_all_crashed_has_counts_and_no_numbers(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run(seeds=range(2))
    for seed in range(2):
        run.add("none", seed, None, status="crashed")
        run.add("randomout", seed, None, status="crashed")
    (cell,) = summarise(read_results(run.close())).cells
    assert cell.majority_share is None
    assert (cell.arm("none").accuracy.mean, cell.arm("none").accuracy.failed) == (None, 2)
    against = cell.comparison("randomout", "none")
    assert against is not None
    assert (against.numbers.n, against.numbers.failed_both, against.outcome) == (0, 2, "too few")


def test_trials_of_different_test_sets_are_not_compared(rescued: Path) -> None:
    database = sqlite3.connect(rescued / "results.sqlite")
    with database:
        database.execute("UPDATE trials SET majority_share = 0.7 WHERE seed = 3")
    database.close()
    with pytest.raises(StoreError, match="must share one test set"):
        summarise(read_results(rescued))


def test_failed_seeds_agree_with_the_counts(partial: Path) -> None:
    results = read_results(partial)
    for cell in summarise(results).cells:
        for arm in cell.arms:
            assert len(failed_seeds(results.arm(cell.cell, arm.label))) == arm.accuracy.failed
    assert failed_seeds(results.arm("train.lr=0.03", "randomout")) == {8, 9}


def test_the_document_is_plain_json_without_nan(partial: Path) -> None:
    results = read_results(partial)
    document = summary_document(results, summarise(results))
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again["summary_version"] == 1
    assert again["trials"] == {"expected": 60, "ended": 24, "missing": 36}
    arms = again["cells"][0]["arms"]
    assert [arm["label"] for arm in arms] == ["none", "randomout", "random"]
    assert arms[1]["accuracy"]["failed"] == 2
    assert again["cells"][0]["comparisons"][0]["outcome"] == "unclear"
    assert again["cells"][1]["comparisons"][0]["numbers"]["mean_difference"] is None
