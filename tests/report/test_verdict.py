"""The sentences of the report say what the numbers allow, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.renewals import renewing_arms
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.verdict import caution, standing, verdicts

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]


def test_a_rescue_is_told_with_all_its_numbers(rescued: Path) -> None:
    (cell,) = summarise(read_results(rescued)).cells
    (verdict,) = verdicts(cell)
    assert (verdict.arm, verdict.outcome, verdict.headline) == ("randomout", "gain", "a gain")
    none, randomout = cell.arm("none").accuracy, cell.arm("randomout").accuracy
    against, control = cell.comparisons[0].numbers, cell.comparisons[2].numbers
    assert verdict.text.startswith(
        f"{none.failed} of 24 seeds failed under none, {randomout.failed} under randomout"
    )
    assert f"{wording.percent(none.mean)} % under none" in verdict.text
    assert f"a difference of {wording.points(against.mean_difference)} points" in verdict.text
    assert f"CI {wording.interval(against.low, against.high)}; n = 24 pairs]" in verdict.text
    assert f"randomout minus random: {wording.points(control.mean_difference)}" in verdict.text
    assert "so the choice of filters matters." in verdict.text
    assert "a few seeds carry the mean" not in verdict.text


def test_a_recipe_that_does_as_well_as_its_control_is_told_so(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run(seeds=range(12))
    for seed in range(12):
        run.add("none", seed, 0.5)
        run.add("randomout", seed, 0.9, renewals=[(1, "conv1", 1)])
        run.add("random", seed, 0.9 + (0.01 if seed % 2 else -0.01), renewals=[(1, "conv1", 1)])
    (cell,) = summarise(read_results(run.close())).cells
    (verdict,) = verdicts(cell)
    assert verdict.outcome == "gain"
    assert "so the choice of filters is not shown to matter." in verdict.text


def test_a_recipe_that_never_acted_is_told_so(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(8))
    for seed in range(8):
        for arm in ("none", "randomout", "random"):
            run.add(arm, seed, 0.9)
    (cell,) = summarise(read_results(run.close())).cells
    (verdict,) = verdicts(cell)
    assert verdict.headline == "no difference shown"
    assert "none failed with or without it" in verdict.text
    assert "It renewed no filter in any trial." in verdict.text
    assert "choice of filters" not in verdict.text


def test_a_mean_that_a_few_seeds_carry_is_told_so(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(seeds=range(20))
    for seed in range(20):
        run.add("none", seed, 0.5 if seed < 5 else 0.9)
        run.add("randomout", seed, 0.89 + seed / 10000, renewals=[(1, "conv1", 1)])
    (cell,) = summarise(read_results(run.close())).cells
    (verdict,) = verdicts(cell)
    assert verdict.outcome == "gain"
    assert "a few seeds carry the mean" in verdict.text


def test_crashes_divergence_and_missing_partners_are_named(partial: Path) -> None:
    cells = summarise(read_results(partial)).cells
    (verdict,) = verdicts(cells[0])
    assert "1 trial of randomout became non-finite" in verdict.text
    assert "1 seed crashed in one of the two" in verdict.text
    assert "too few pairs to tell them apart" in verdict.text
    (other,) = verdicts(cells[1])
    assert other.headline == "too few pairs to tell"
    assert other.text.startswith("No seed has ended in both randomout and none yet.")


def test_arms_without_a_control_are_told_so_unless_they_renew_nothing_by_design(
    new_run: Callable[..., RunFolder],
) -> None:
    recipes = {"none": "none", "randomout": "randomout", "restart": "restart", "clip": "none"}
    run = new_run(arms={label: {"recipe": recipe} for label, recipe in recipes.items()})
    for arm in recipes:
        run.add(arm, 0, 0.9)
    (cell,) = summarise(read_results(run.close())).cells
    found = {verdict.arm: verdict.text for verdict in verdicts(cell)}
    assert set(found) == {"randomout", "restart", "clip"}
    assert "no random control of its own" in found["randomout"]
    assert "control" not in found["restart"]
    assert "control" not in found["clip"]


def test_inverted_and_never_are_no_random_control(new_run: Callable[..., RunFolder]) -> None:
    """The inverted one is told apart in its own words; one that never acts is in the tables alone."""
    labels = ("none", "randomout", "inverted", "never")
    run = new_run(arms={label: {"recipe": label} for label in labels})
    for seed in range(8):
        for arm, accuracy in zip(labels, (0.7, 0.9, 0.6, 0.7), strict=True):
            renewals = [(1, "conv1", 1)] if arm in {"randomout", "inverted"} else []
            run.add(arm, seed, accuracy + 0.001 * seed, renewals=renewals)
    results = read_results(run.close())
    (cell,) = summarise(results).cells
    found = {verdict.arm: verdict.text for verdict in verdicts(cell)}
    assert set(found) == {"randomout"}
    text = found["randomout"]
    assert (
        "Its inverted control, inverted, renews the best filters in the place of the worst" in text
    )
    assert "randomout minus inverted: +30.0 points" in text
    assert "so what it goes by matters." in text
    assert "no random control of its own" in text
    assert "never" not in text
    assert {(each.arm, each.versus) for each in cell.comparisons} >= {("randomout", "never")}
    assert renewing_arms(results, "base") == ["randomout", "inverted"]  # counts of its own


def test_standing_and_caution(rescued: Path, partial: Path) -> None:
    whole, cut = summarise(read_results(rescued)), summarise(read_results(partial))
    assert standing(whole) == "Complete: all 72 trials of the study ended."
    assert standing(cut).startswith("Incomplete: 36 of 60 trials are missing.")
    assert caution(whole).startswith("This page makes 3 comparisons.")
    assert caution(cut).startswith("This page makes 6 comparisons.")
