"""Every number of the tables of several networks, worked out again from the rows of the database."""

from __future__ import annotations

import json
import sqlite3
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from regrow.report import wording
from regrow.report.export import export
from regrow.report.partner_tables import partner_tables
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.table import Table, arms_table, paired_table
from regrow.report.weights import entropy_table, invalid_table, share_table
from regrow.report.write import summary_json

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
WAYS = ("best", "mean weights", "ensemble")


def _rows(folder: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "results.sqlite") as database:
        return database.execute(query, values).fetchall()


def _tables(folder: Path) -> dict[str, Table]:
    (cell,) = summarise(read_results(folder)).cells
    return {name: table for name, _, table in partner_tables(cell)}


def _by_name(table: Table) -> dict[str, dict[str, str]]:
    """Rows by their first cell; of rows with the same one, the first."""
    found: dict[str, dict[str, str]] = {}
    for row in table.rows:
        found.setdefault(row[0], dict(zip(table.columns, row, strict=True)))
    return found


def _accuracies(folder: Path) -> dict[str, dict[int, float]]:
    """Seed to accuracy of every row of the table of costs, from the raw tables alone."""
    found: dict[str, dict[int, float]] = {}
    for arm, seed, accuracy in _rows(folder, "SELECT arm, seed, test_accuracy FROM trials"):
        found.setdefault(arm, {})[seed] = accuracy  # type: ignore[index, assignment]
    for arm, seed, how, accuracy in _rows(
        folder,
        "SELECT arm, seed, how, together.test_accuracy FROM together JOIN trials USING (trial)",
    ):
        found.setdefault(f"{arm}: {how} of 2", {})[seed] = accuracy  # type: ignore[index, assignment]
    return found


def _paired(first: Mapping[int, float], second: Mapping[int, float]) -> tuple[str, str]:
    difference = np.array([first[seed] - second[seed] for seed in sorted(first)])
    ends = stats.bootstrap(
        (difference.round(12),),
        np.mean,
        n_resamples=9999,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return wording.points(float(difference.mean())), wording.interval(ends.low, ends.high)


def test_the_trials_accuracy_is_the_mean_over_its_networks(several_folder: Path) -> None:
    rows = _by_name(_tables(several_folder)["networks"])
    assert list(rows) == ["grafting", "graft0", "apart", "plus"]
    accuracies = _accuracies(several_folder)
    (cell,) = summarise(read_results(several_folder)).cells
    arms = _by_name(arms_table(cell))
    for arm, row in rows.items():
        last: dict[int, list[float]] = {}
        for seed, accuracy in _rows(
            several_folder,
            "SELECT seed, p.test_accuracy FROM partners p JOIN trials t USING (trial) "
            "WHERE arm = ? AND epoch = 4",
            arm,
        ):
            last.setdefault(seed, []).append(accuracy)  # type: ignore[call-overload, arg-type]
        assert [len(own) for own in last.values()] == [2] * 8
        mean = statistics.fmean(statistics.fmean(own) for own in last.values())
        spread = statistics.fmean(max(own) - min(own) for own in last.values())
        assert row["Mean (%)"] == wording.percent(mean) == arms[arm]["Mean (%)"]
        assert row["Spread (points)"] == wording.percent(spread)
        assert (row["Networks"], row["n"]) == ("2", "8")
        for way, column in zip(WAYS, ("Best (%)", "Mean weights (%)", "Ensemble (%)"), strict=True):
            values = accuracies[f"{arm}: {way} of 2"].values()
            assert row[column] == wording.percent(statistics.fmean(values))
        assert arms[arm]["Recipe"].endswith("(2 networks)")
    assert arms["none"]["Recipe"] == "none"
    caption = arms_table(cell).caption
    assert "A trial of several networks counts with their mean." in caption


def test_each_network_with_its_learning_rate(several_folder: Path) -> None:
    table = _tables(several_folder)["partners"]
    assert len(table.rows) == 4 * 2
    for arm, number, rate, n, mean, std in table.rows:
        values = [
            accuracy
            for (accuracy,) in _rows(
                several_folder,
                "SELECT p.test_accuracy FROM partners p JOIN trials t USING (trial) "
                "WHERE arm = ? AND epoch = 4 AND partner = ?",
                arm,
                int(number),
            )
        ]
        assert (n, rate) == ("8", ("0.1", "0.05")[int(number)])
        assert mean == wording.percent(statistics.fmean(values))  # type: ignore[type-var]
        assert std == wording.percent(statistics.stdev(values))  # type: ignore[type-var]


def test_the_best_is_said_to_be_picked_without_the_test_set(
    several_folder: Path, new_several: Callable[..., Path]
) -> None:
    for name in ("networks", "cost"):
        caption = _tables(several_folder)[name].caption
        assert "picked by its accuracy on 100 held-out images, never by the test set" in caption
    other = _tables(new_several("loss", held_out=0, seeds=[0, 1]))["networks"].caption
    assert "picked by its training loss in the last epoch, never by the test set" in other


def test_costs_are_networks_times_epochs_and_those_of_teachers(several_folder: Path) -> None:
    table = _tables(several_folder)["cost"]
    rows = _by_name(table)
    accuracies = _accuracies(several_folder)
    costs = {"none": 1.0, "long": 2.0, "grafting": 2.0, "graft0": 2.0, "apart": 2.0, "plus": 4.0}
    assert len(rows) == len(table.rows) == 2 + 4 * 4
    written = [float(row[1]) for row in table.rows]
    assert written == sorted(written)
    for name, row in rows.items():
        arm = name.partition(": ")[0]
        own = accuracies[arm if name.endswith("mean of 2") else name]
        assert row[f"Cost ({TIMES} none)"] == f"{costs[arm]:g}"
        epochs = 8 if arm == "long" else 4
        assert row[f"Networks {TIMES} epochs"] == f"{1 if ':' not in name else 2} {TIMES} {epochs}"
        assert row["Teachers' epochs"] == ("8" if arm == "plus" else "0")
        assert row["Networks at test"] == ("2" if "ensemble" in name else "1")
        assert row["Mean (%)"] == wording.percent(statistics.fmean(own.values()))
        if name == "none":
            assert row["Difference (points)"] == wording.NOTHING
            continue
        told = (row["Difference (points)"], row["95 % CI (points)"])
        assert told == _paired(own, accuracies["none"])
        assert row["n"] == "8"
    assert rows["long"]["Verdict"] == "gain"
    assert rows["apart: mean weights of 2"]["Verdict"] == "harm"


def test_gains_are_taken_apart(several_folder: Path) -> None:
    table = _tables(several_folder)["gain"]
    accuracies = _accuracies(several_folder)
    own = [row for row in table.rows if row[0].startswith("grafting")]
    asked = [row[:2] for row in (*own, *(r for r in table.rows if r[0].startswith("graft0 ")))]
    assert (f"grafting {MINUS} graft0", "weighing by information") in asked
    assert (f"graft0 {MINUS} none", "averaging alone") in asked
    assert (f"grafting {MINUS} apart", "that networks meet") in asked
    for way in WAYS:
        assert f"grafting {MINUS} apart: {way} of 2" in [row[0] for row in own]
    both = f"grafting: ensemble of 2 {MINUS} apart: ensemble of 2"
    assert (both, "ensemble against ensemble") in asked
    for row in table.rows:
        first, second = row[0].split(f" {MINUS} ")
        assert (row[3], row[4]) == _paired(accuracies[first], accuracies[second])
        wins = [accuracies[first][seed] > accuracies[second][seed] for seed in range(8)]
        assert row[7] == f"{sum(wins)} / {8 - sum(wins)} / 0"
    # plus has teachers, and no arm averages or trains apart with them.
    assert not [row for row in table.rows if row[0].startswith("plus")]


def test_invalid_filters_and_the_sum_of_entropies(several_folder: Path) -> None:
    filters = {"stem": 4, "conv10": 12, "conv2": 8}
    table = invalid_table(read_results(several_folder), "base")
    assert [row[0] for row in table.rows] == ["none", "long", "grafting", "graft0", "apart", "plus"]
    for arm, n, layers, number, *shares, entropy, std in table.rows:
        assert (n, layers, number) == ("8", "3", "24")
        trials: dict[int, dict[int, list[tuple[float, ...]]]] = {}
        for seed, partner, layer, *values in _rows(
            several_folder,
            "SELECT seed, partner, layer, entropy, below_1, below_0_1, below_0_01, below_0_001 "
            "FROM weights w JOIN trials t USING (trial) WHERE arm = ? AND epoch = t.epochs",
            arm,
        ):
            weight = filters[layer] / 24  # type: ignore[index]
            own = trials.setdefault(seed, {}).setdefault(partner, [])  # type: ignore[call-overload]
            own.append((values[0], *(weight * share for share in values[1:])))  # type: ignore[operator]
        summed = [
            [[sum(column) for column in zip(*rows, strict=True)] for rows in partners.values()]
            for partners in trials.values()
        ]
        means = [[statistics.fmean(c) for c in zip(*own, strict=True)] for own in summed]
        for place, share in enumerate(shares, start=1):
            assert share == wording.percent(statistics.fmean(own[place] for own in means))
        entropies = [own[0] for own in means]
        assert entropy == f"{statistics.fmean(entropies):.2f}"
        assert std == f"{statistics.stdev(entropies):.2f}"


def test_entropies_and_shares_layer_by_layer(several_folder: Path) -> None:
    results = read_results(several_folder)
    table = entropy_table(results, "base")
    assert table.columns == (
        "Layer",
        "Filters",
        "none",
        "long",
        "grafting",
        "graft0",
        "apart",
        "plus",
    )
    assert [row[0] for row in table.rows] == ["stem", "conv10", "conv2"]
    values: dict[int, list[float]] = {}
    for seed, entropy in _rows(
        several_folder,
        "SELECT seed, entropy FROM weights JOIN trials USING (trial) "
        "WHERE arm = 'apart' AND epoch = 4 AND layer = 'conv10'",
    ):
        values.setdefault(seed, []).append(entropy)  # type: ignore[call-overload, arg-type]
    means = [statistics.fmean(own) for own in values.values()]
    spread = f"{statistics.fmean(means):.3f} ± {statistics.stdev(means):.3f}"
    assert table.rows[1][6] == spread
    assert "8 (apart)" in table.caption
    shares = share_table(results, "base")
    assert shares.columns == ("Layer", "grafting", "graft0", "plus")
    drawn = [
        share
        for (share,) in _rows(
            several_folder,
            "SELECT share FROM grafts JOIN trials USING (trial) WHERE arm = 'grafting' AND layer = 'stem'",
        )
    ]
    away = statistics.fmean(abs(share - 0.5) for share in drawn)  # type: ignore[operator]
    assert shares.rows[0][1] == f"{away:.3f} ({min(drawn):.3f} to {max(drawn):.3f})"  # type: ignore[type-var]
    assert shares.rows[0][2] == "0.000 (0.500 to 0.500)"


def test_a_network_without_an_accuracy_is_in_no_mean_of_the_networks(several_folder: Path) -> None:
    with sqlite3.connect(several_folder / "results.sqlite") as database:
        database.execute(
            "UPDATE partners SET test_accuracy = NULL WHERE trial = 'base/apart/seed0' AND partner = 1"
        )
    tables = _tables(several_folder)
    assert _by_name(tables["networks"])["apart"]["n"] == "7"
    counts = {row[:2]: row[3] for row in tables["partners"].rows}
    assert (counts["apart", "0"], counts["apart", "1"]) == ("8", "7")


def test_studies_of_single_networks_have_none_of_it(
    rescued: Path, cycled: Path, new_several: Callable[..., Path]
) -> None:
    for folder in (rescued, cycled):
        assert _tables(folder) == {}
    one = {"none": {"recipe": "none"}, "long": {"recipe": "none", "train": {"epochs": 12}}}
    found = _tables(new_several("one", arms=one))
    assert list(found) == ["cost"]
    assert [row[1] for row in found["cost"].rows] == ["1", "3"]


def test_the_summary_and_the_export_hold_them(several_folder: Path, tmp_path: Path) -> None:
    document = summary_json(several_folder)
    json.dumps(document, allow_nan=False)
    (cell,) = document["cells"]  # type: ignore[misc]
    assert [own["label"] for own in cell["several"]] == ["grafting", "graft0", "apart", "plus"]
    accuracies = _accuracies(several_folder)
    together = dict(cell["several"][0]["together"]["ensemble"])
    assert together == accuracies["grafting: ensemble of 2"]
    assert len(cell["joint"]) == 4 * 3 + 2 * 4
    arms = {arm["label"]: arm for arm in cell["arms"]}
    assert arms["grafting"]["averaging_control"] == "graft0"
    assert arms["plus"]["cost"]["relative"] == 4.0
    assert len(cell["weights"]) == 6
    names = {path.name for path in export(several_folder, tmp_path / "into")}
    wanted = {
        "networks.md",
        "partners.md",
        "cost.md",
        "gain.md",
        "invalid.md",
        "entropy.md",
        "alpha.md",
    }
    assert wanted <= names
    assert {"base-networks.png", "base-alpha.png", "base-invalid.png"} <= names
    text = (tmp_path / "into" / "README.md").read_text()
    for name in wanted:
        assert (tmp_path / "into" / name).read_text().strip() in text


@pytest.mark.parametrize("name", ["networks", "partners", "cost", "gain"])
def test_rows_are_as_wide_as_headings(several_folder: Path, name: str) -> None:
    table = _tables(several_folder)[name]
    assert table.rows
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_pairs_of_arms_hold_the_controls_and_all_are_counted(several_folder: Path) -> None:
    found = summarise(read_results(several_folder))
    (cell,) = found.cells
    pairs = [row[0] for row in paired_table(cell).rows]
    assert pairs[5:] == [
        f"grafting {MINUS} graft0",
        f"grafting {MINUS} apart",
        f"graft0 {MINUS} apart",
    ]
    assert found.comparisons == len(pairs) + len(cell.joint) == 8 + 20
