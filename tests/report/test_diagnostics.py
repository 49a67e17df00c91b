"""The diagnostics as they are read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from regrow.report.read import read_results
from regrow.study.records import CorrelationRecord
from regrow.study.views import Drop


def test_everything_is_read_as_it_was_written(cycled: Path) -> None:
    found = read_results(cycled)
    trial = "base/repr/seed0"
    assert list(found.layers[trial].items()) == [("conv1", 4), ("conv10", 10), ("conv2", 6)]
    assert found.overlaps[trial]["conv10"][8] == 0.1 * 2 + 0.01 * 8
    assert found.drops[trial] == (
        Drop(layer="conv1", filter=0, since=19, until=39),
        Drop(layer="conv1", filter=3, since=19, until=39),
        Drop(layer="conv10", filter=5, since=19, until=39),
        Drop(layer="conv1", filter=3, since=59, until=None),
    )
    assert set(found.drops) == {"base/repr/seed0", "base/repr/seed1"}
    assert found.of(CorrelationRecord)["base/none/seed1"][0] == CorrelationRecord(
        epoch=4, ranking="overlap", value=0.75, rank=0.4, filters=20
    )
    assert set(found.of(CorrelationRecord)) == {"base/none/seed0", "base/none/seed1"}


def test_a_decision_is_a_step_at_which_filters_were_picked(cycled: Path) -> None:
    picks = read_results(cycled).picks
    assert picks["base/repr/seed0"].decisions == 2  # those still out were picked, too
    assert dict(picks["base/repr/seed0"].by_layer) == {"conv1": 3, "conv10": 1}
    assert picks["base/random/seed0"].decisions == 1
    assert "base/none/seed0" not in picks


def test_an_overlap_that_is_no_number_is_absent(cycled: Path) -> None:
    with sqlite3.connect(cycled / "results.sqlite") as database:
        database.execute("UPDATE overlaps SET mean = NULL WHERE epoch = 3 AND layer = 'conv1'")
    overlaps = read_results(cycled).overlaps["base/none/seed0"]
    assert 3 not in overlaps["conv1"]
    assert 3 in overlaps["conv2"]
