"""What is said of networks that graft: the weighing, the averaging, the price; and no gain where there is none."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from regrow.report import wording
from regrow.report.findings import CellSummary
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.verdict import verdicts
from report.several_study import ARMS, MEANS


def _told(folder: Path) -> tuple[CellSummary, dict[str, str]]:
    (cell,) = summarise(read_results(folder)).cells
    return cell, {verdict.arm: verdict.text for verdict in verdicts(cell)}


def test_a_gain_is_taken_apart_and_has_its_price(several_folder: Path) -> None:
    cell, told = _told(several_folder)
    text = told["grafting"]
    parts = [
        cell.comparison(*pair)
        for pair in (("grafting", "none"), ("grafting", "graft0"), ("graft0", "none"))
    ]
    whole, weighing, averaging = (wording.points(part.numbers.mean_difference) for part in parts)  # type: ignore[union-attr]
    assert (
        f"Of the {whole} points from none, {weighing} come with the weighing and {averaging} with averaging alone."
        in text
    )
    assert "Its control for the shares, graft0, has the same settings with amplitude = 0" in text
    assert "apart trains 2 networks apart, at the same price" in text
    assert "so that networks meet matters." in text
    ensemble = cell.comparison("grafting", "apart: ensemble of 2")
    assert ensemble is not None
    assert (
        f"grafting minus apart: ensemble of 2: {wording.points(ensemble.numbers.mean_difference)} points"
        in text
    )
    assert "Its accuracy is the mean over the 2 networks of a trial." in text
    assert "A trial trains 2 times the epochs of none." in text
    for unsaid in ("renewed no filter", "choice of filters", "random control", "took nothing"):
        assert unsaid not in text


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (0.80, "so weighing by information matters."),
        (
            0.7501,
            "so weighing by information is not shown to matter: averaging alone does as well.",
        ),
        (0.70, "so plain averaging does better."),
    ],
)
def test_the_weighing_is_judged_by_plain_averaging(
    new_several: Callable[..., Path], mean: float, words: str
) -> None:
    arms = {label: ARMS[label] for label in ("none", "grafting", "graft0")}
    means = {"none": 0.70, "graft0": 0.75, "grafting": mean}
    _, told = _told(new_several(arms=arms, means=means))
    assert words in told["grafting"]
    assert "Its networks average half and half, whatever they carry: a control" in told["graft0"]
    assert "Whether it matters that networks meet is not shown" in told["grafting"]


def test_no_gain_is_told_so(new_several: Callable[..., Path]) -> None:
    means = dict.fromkeys(MEANS, 0.7)
    cell, told = _told(new_several(means=means, noise=0.02))
    assert "so weighing by information is not shown to matter" in told["grafting"]
    assert "so that networks meet is not shown to matter" in told["grafting"]
    headlines = {verdict.arm: verdict.headline for verdict in verdicts(cell)}
    assert headlines["grafting"] == headlines["graft0"] == "no difference shown"


def test_few_seeds_say_nothing(new_several: Callable[..., Path]) -> None:
    cell, told = _told(new_several(seeds=range(3)))
    assert {verdict.outcome for verdict in verdicts(cell)} == {"too few"}
    assert "too few pairs to tell them apart" in told["grafting"]


def test_networks_apart_are_a_control(several_folder: Path) -> None:
    _, told = _told(several_folder)
    text = told["apart"]
    assert "Its networks never meet: a control." in text
    assert "apart: mean weights of 2 minus none: " in text
    assert "apart: ensemble of 2 minus none: " in text
    for unsaid in ("random control", "renewed no filter", "took nothing", "amplitude"):
        assert unsaid not in text


def test_teachers_are_part_of_the_price(several_folder: Path) -> None:
    _, told = _told(several_folder)
    assert (
        "A trial trains 4 times the epochs of none, 8 epochs of teachers among them."
        in told["plus"]
    )
    assert "it takes an arm with the same settings and amplitude = 0" in told["plus"]
    assert "A trial trains 2 times the epochs of none." in told["long"]


def test_networks_that_took_nothing_are_told_so(several_folder: Path) -> None:
    with sqlite3.connect(several_folder / "results.sqlite") as database:
        database.execute("DELETE FROM grafts WHERE trial LIKE 'base/grafting/%'")
    _, told = _told(several_folder)
    assert "Its networks took nothing from each other in any trial." in told["grafting"]
    assert "took nothing" not in told["graft0"]
