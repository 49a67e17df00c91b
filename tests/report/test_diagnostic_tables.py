"""The tables of the diagnostics: their numbers by hand, and none where nothing was looked at."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from regrow.report import wording
from regrow.report.diagnostic_tables import (
    diagnostic_tables,
    oracle_table,
    overlap_table,
    picks_table,
)
from regrow.report.read import read_results


def test_shares_are_of_a_layers_filters_and_of_one_decision(cycled: Path) -> None:
    table = picks_table(read_results(cycled), "base")
    assert table.columns == ("Layer", "Filters", "repr (%)", "random (%)")
    # repr: two decisions a seed; conv1 has given 3 filters in seed 0 and 1 in seed 1.
    assert table.rows == (
        ("conv1", "4", "25.0", "25.0"),
        ("conv10", "10", "2.5", "5.0"),
        ("conv2", "6", "12.5", "25.0"),
        ("all layers", "20", "10.0", "15.0"),
    )
    assert (
        "decisions that took any: n = 4 in 2 seeds (repr), 2 in 2 seeds (random)." in table.caption
    )


def test_overlap_is_that_of_the_last_epoch(cycled: Path, new_cycled: Callable[..., Path]) -> None:
    table = overlap_table(read_results(cycled), "base")
    assert table.columns == ("Layer", "Filters", "none", "repr", "random")
    assert table.rows[0] == ("conv1", "4", *["0.190 ± 0.014"] * 3)
    assert "n = 2 (none), 2 (repr), 2 (random) seeds" in table.caption
    assert (
        "Not like with like: at the end 2 filters in 2 trials (repr) were out of the network"
        in table.caption
    )
    alone = overlap_table(read_results(new_cycled(seeds=1, name="alone")), "base")
    assert alone.rows[1] == ("conv10", "10", "0.280", "0.280", "0.280")


def test_overlap_of_whole_networks_counts_the_seeds_of_the_last_epoch(cycled: Path) -> None:
    with sqlite3.connect(cycled / "results.sqlite") as database:
        database.execute("DELETE FROM resting")
        database.execute("DELETE FROM overlaps WHERE trial = 'base/none/seed1' AND epoch > 5")
    table = overlap_table(read_results(cycled), "base")
    assert table.rows[0][2:4] == ("0.180", "0.190 ± 0.014")
    assert "n = 1 (none), 2 (repr)" in table.caption
    assert "like with like" not in table.caption


def test_agreement_is_a_mean_over_epochs_and_then_over_trials(cycled: Path) -> None:
    table = oracle_table(read_results(cycled), "base")
    assert table.rows == (
        ("none", "overlap", "2", "+0.60", "+0.60 to +0.60", "+0.50", "+0.25 to +0.75"),
        ("none", "random", "1", f"{wording.signed(-0.5, digits=2)}", *[wording.NOTHING] * 3),
    )
    assert "epochs 4, 8" in table.caption


def test_only_tables_with_rows_are_there(
    cycled: Path, new_cycled: Callable[..., Path], rescued: Path
) -> None:
    names = [name for name, _, _ in diagnostic_tables(read_results(cycled), "base")]
    assert names == ["picks", "overlap", "oracle"]
    assert diagnostic_tables(read_results(rescued), "base") == ()
    assert diagnostic_tables(read_results(new_cycled(seeds=0, name="empty")), "base") == ()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_rows_are_as_wide_as_headings(cycled: Path, place: int) -> None:
    table = diagnostic_tables(read_results(cycled), "base")[place][2]
    assert all(len(row) == len(table.columns) for row in table.rows)
