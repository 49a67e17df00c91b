"""Tables hold the summary's numbers, and lose none on the way to text and Markdown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from regrow.report import wording
from regrow.report.findings import CellSummary
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.table import (
    Table,
    activity_table,
    arms_table,
    as_markdown,
    as_text,
    overview_table,
    paired_table,
)


def test_arms_and_their_numbers(partial: Path) -> None:
    cell = summarise(read_results(partial)).cells[0]
    table = arms_table(cell)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows) == ["none", "randomout", "random"]
    accuracy = cell.arm("randomout").accuracy
    found = rows["randomout"]
    assert found["Mean (%)"] == wording.percent(accuracy.mean)
    assert found["SD (points)"] == wording.percent(accuracy.std)
    assert (found["Worst (%)"], found["Best (%)"]) == ("61.0", "86.7")
    assert (found["Failed"], found["Diverged / crashed"]) == ("2", "1 / 1")
    assert rows["random"]["n"] == "1 of 10"
    assert rows["random"]["SD (points)"] == wording.NOTHING
    assert rows["random"]["Recipe"] == "random (control of randomout)"
    assert "at most 52.0 %" in table.caption


def test_pairs_and_their_numbers(rescued: Path) -> None:
    (cell,) = summarise(read_results(rescued)).cells
    table = paired_table(cell)
    numbers = cell.comparisons[0].numbers
    assert table.rows[0] == (
        "randomout \N{MINUS SIGN} none",
        "24",
        wording.points(numbers.mean_difference),
        wording.interval(numbers.low, numbers.high),
        "gain",
        wording.p_value(numbers.wilcoxon_p),
        f"{numbers.wins} / {numbers.losses} / {numbers.ties}",
        f"{numbers.failed_a_only} / {numbers.failed_b_only}",
        wording.p_value(numbers.mcnemar_p),
    )


def test_overview_has_a_row_a_cell_and_arm(partial: Path) -> None:
    rows = overview_table(summarise(read_results(partial))).rows
    assert [(row[0], row[1]) for row in rows] == [
        (cell, arm) for cell in ("train.lr=0.03", "train.lr=0.1") for arm in ("randomout", "random")
    ]
    assert rows[0][5] == "4 / 2"


@pytest.mark.parametrize("make", [arms_table, activity_table, paired_table])
def test_rows_are_as_wide_as_headings_and_say_nothing_as_nan(
    partial: Path, make: Callable[[CellSummary], Table]
) -> None:
    for cell in summarise(read_results(partial)).cells:
        table = make(cell)
        for row in table.rows:
            assert len(row) == len(table.columns)
            assert not {"nan", "None", "inf"} & {word for value in row for word in value.split()}


def test_text_and_markdown_hold_every_value_in_order(partial: Path) -> None:
    table = arms_table(summarise(read_results(partial)).cells[0])
    lines = as_text(table).splitlines()
    assert len(lines) == 2 + len(table.rows)
    marked = as_markdown(table).splitlines()
    for row, text, bars in zip(table.rows, lines[2:], marked[2:], strict=True):
        assert text.split() == " ".join(row).split()
        assert tuple(value.strip() for value in bars.strip("|").split("|")) == row


def test_columns_are_aligned() -> None:
    table = Table(caption="", columns=("Arm", "n"), rows=(("a", "5"), ("longer", "1234")))
    assert as_text(table).splitlines() == [
        "Arm        n",
        "------  ----",
        "a          5",
        "longer  1234",
    ]
    barred = Table(caption="", columns=("Arm", "n"), rows=(("a|b", "24"),))
    assert as_markdown(barred).splitlines() == [
        "| Arm  |  n |",
        "|:-----|---:|",
        r"| a\|b | 24 |",
    ]


def test_the_caption_says_how_a_diverged_network_enters_the_mean(
    rescued: Path, partial: Path
) -> None:
    told = {
        any(arm.diverged for arm in cell.arms): "below guessing" in arms_table(cell).caption
        for folder in (rescued, partial)
        for cell in summarise(read_results(folder)).cells
    }
    assert set(told) == {True, False}
    assert all(diverged == said for diverged, said in told.items())
