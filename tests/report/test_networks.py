"""What is read of the single networks."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from regrow.errors import StoreError
from regrow.report.read import read_results


def _edit(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "results.sqlite") as database:
        for statement in statements:
            database.execute(statement)


def _rows(folder: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "results.sqlite") as database:
        return database.execute(query, values).fetchall()


def test_everything_is_read_as_it_was_written(several_folder: Path) -> None:
    found = read_results(several_folder)
    trial = "base/grafting/seed3"
    first, second = found.partners[trial]
    assert (first.number, first.lr, second.number, second.lr) == (0, 0.1, 1, 0.05)
    for number, partner in enumerate((first, second)):
        asked = "SELECT epoch, test_accuracy FROM partners WHERE trial = ? AND partner = ?"
        assert dict(partner.accuracies) == dict(_rows(several_folder, asked, trial, number))
    asked = "SELECT how, test_accuracy FROM together WHERE trial = ?"
    assert found.together[trial] == dict(_rows(several_folder, asked, trial))
    grafts = found.grafts[trial]
    assert list(grafts) == ["stem", "conv10", "conv2"]
    asked = "SELECT step, partner, share, distance FROM grafts WHERE trial = ? AND layer = ?"
    told = [(g.step, g.partner, g.share, g.distance) for g in grafts["conv2"]]
    assert told == _rows(several_folder, asked, trial, "conv2")
    assert len(told) == 3 * 2
    assert set(found.partners) == {
        f"base/{arm}/seed{seed}"
        for arm in ("grafting", "graft0", "apart", "plus")
        for seed in range(8)
    }
    assert "base/apart/seed0" not in found.grafts
    assert "base/none/seed0" in found.carried


def test_layers_have_as_many_votes_as_filters(several_folder: Path) -> None:
    found = read_results(several_folder)
    own = next(
        record
        for record in found.carried["base/graft0/seed1"]
        if (record.epoch, record.partner) == (2, 1)
    )
    rows = _rows(
        several_folder,
        "SELECT layer, entropy, below_1, below_0_1, below_0_01, below_0_001 FROM weights "
        "WHERE trial = 'base/graft0/seed1' AND epoch = 2 AND partner = 1",
    )
    filters = {"stem": 4, "conv10": 12, "conv2": 8}
    for place in range(4):
        share = sum(filters[layer] * shares[place] for layer, _, *shares in rows) / 24  # type: ignore[index]
        assert own.invalid[place] == pytest.approx(share)
    assert own.entropy == pytest.approx(sum(entropy for _, entropy, *_ in rows))  # type: ignore[misc]


def test_what_is_no_number_is_absent(several_folder: Path) -> None:
    _edit(
        several_folder,
        "UPDATE weights SET entropy = NULL WHERE trial = 'base/none/seed0' AND layer = 'stem' AND epoch = 4",
        "UPDATE grafts SET share = NULL WHERE trial = 'base/grafting/seed0' AND step = 9",
        "DELETE FROM together WHERE how = 'best'",
    )
    found = read_results(several_folder)
    assert [record.entropy is None for record in found.carried["base/none/seed0"]] == [
        *[False] * 3,
        True,
    ]
    assert 4 not in found.entropies["base/none/seed0"]["stem"]
    assert 4 in found.entropies["base/none/seed0"]["conv2"]
    shares = [graft.share is None for graft in found.grafts["base/grafting/seed0"]["stem"]]
    assert shares == [True, True, False, False, False, False]
    assert set(found.together["base/apart/seed0"]) == {"ensemble", "mean weights"}


def test_a_file_of_this_version_without_its_tables_is_damaged(several_folder: Path) -> None:
    _edit(several_folder, "DROP TABLE partners")
    with pytest.raises(StoreError, match="no such table: partners"):
        read_results(several_folder)


def test_what_was_not_recorded_is_absent(cycled: Path) -> None:
    found = read_results(cycled)
    assert not any((found.partners, found.together, found.grafts, found.carried, found.entropies))
