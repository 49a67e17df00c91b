"""The numbers of a sweep, against those of single cells and against loops."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.sweep.panels import panels, rank_correlation
from regrow.study.asked import SMALL
from regrow.study.results import Results
from report.sweep_study import ARMS, CRASHED, GRID, MISSING, TAU, P, rescuing, write_sweep


def test_each_cell_has_the_numbers_of_its_own_comparison(tmp_path: Path) -> None:
    results = read_results(write_sweep(tmp_path))
    found = summarise(results)
    (panel,) = found.panels
    assert len(panel.cells) == len(found.cells) == 6
    for cell in panel.cells:
        own = next(each for each in found.cells if each.cell == cell.cell)
        assert cell.comparison == own.comparison("randomout", "none")
        assert f"{TAU}={cell.y},{P}={cell.x}" == cell.cell
        assert cell.renewed == 2.0
        assert cell.numbers.failed_b == 4
    places = [(cell.y, cell.x) for cell in panel.cells]
    assert places == sorted(places)
    outcomes = {(c.y, c.x): c.comparison.outcome for c in panel.cells}
    assert (outcomes[1e-8, 0.6], outcomes[1e-8, 1.0], outcomes[1e-4, 1.0]) == (
        "gain",
        "gain",
        "harm",
    )
    assert panel.best is not None
    assert (panel.best.y, panel.best.x, panel.best.numbers.failed_a) == (1e-8, 1.0, 0)


def test_trends_are_rank_correlations_over_the_cells(tmp_path: Path) -> None:
    (panel,) = panels(read_results(write_sweep(tmp_path)))
    gains = [cell.gain for cell in panel.cells]
    assert panel.x_trend == pytest.approx(spearmanr([c.x for c in panel.cells], gains).statistic)
    assert panel.y_trend == pytest.approx(spearmanr([c.y for c in panel.cells], gains).statistic)
    assert panel.y_trend != panel.x_trend
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
    assert rank_correlation([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) is None
    assert rank_correlation([1.0, 2.0, 3.0], [1.0, 8.0, 9.0]) == 1.0


def test_the_cell_is_chosen_on_even_places_and_measured_on_odd_ones(tmp_path: Path) -> None:
    seeds = [7, 3, 11, 4, 0, 8, 5, 9, 1, 6, 2, 10]
    results = read_results(write_sweep(tmp_path, seeds=seeds))
    (panel,) = panels(results)
    first, second = panel.chosen
    assert (first.choosing, first.held_back) == (tuple(seeds[::2]), tuple(seeds[1::2]))
    assert (second.choosing, second.held_back) == (first.held_back, first.choosing)

    def mean(cell: str, over: tuple[int, ...]) -> float:
        pairs = [[results.arm(cell, arm)[s].test_accuracy for arm in ARMS] for s in over]
        return statistics.fmean(b - a for a, b in pairs if a is not None and b is not None)

    for chosen in panel.chosen:
        assert chosen.cell.cell == max(
            (cell.cell for cell in panel.cells), key=lambda cell: mean(cell, chosen.choosing)
        )
        for half, seen in (
            (chosen.before, chosen.choosing),
            (chosen.after, chosen.held_back),
        ):
            assert half.numbers.mean_difference == pytest.approx(mean(chosen.cell.cell, seen))
            assert half.numbers.n == 6


def test_what_the_held_back_seeds_reach_does_not_change_the_choice(tmp_path: Path) -> None:
    def spoilt(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        if seed % 2 and arm == "randomout":
            return 0.99 if point[TAU] == 1e-4 else 0.1
        return rescuing(point, arm, seed)

    plain = panels(read_results(write_sweep(tmp_path / "a")))[0].chosen
    other = panels(read_results(write_sweep(tmp_path / "b", reached=spoilt)))[0].chosen
    assert plain[0].cell.cell == other[0].cell.cell
    assert plain[0].before == other[0].before
    assert other[0].after.outcome == "harm"
    assert plain[1].cell.cell != other[1].cell.cell


def test_of_equal_cells_the_smaller_value_of_the_first_key_is_chosen(tmp_path: Path) -> None:
    def equal(point: Mapping[str, object], arm: str, seed: int) -> float:
        gain = 0.1 if (point[TAU], point[P]) in {(1e-8, 1.0), (1e-4, 0.2), (1e-8, 0.6)} else 0.0
        return 0.7 + seed / 1000 + gain * (arm != "none")

    turned = {P: GRID[P], TAU: GRID[TAU]}
    for name, grid, expected in (("a", GRID, (1e-8, 0.6)), ("b", turned, (1e-4, 0.2))):
        results = read_results(write_sweep(tmp_path / name, reached=equal, grid=grid))
        for chosen in panels(results)[0].chosen:
            assert (chosen.cell.y, chosen.cell.x) == expected


def test_a_cell_with_few_pairs_is_not_chosen(tmp_path: Path) -> None:
    def lucky(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        if (point[TAU], point[P]) == (1e-4, 0.2):
            return MISSING if seed >= 4 else 0.99 if arm == "randomout" else 0.5
        return rescuing(point, arm, seed)

    (panel,) = panels(read_results(write_sweep(tmp_path, reached=lucky)))
    assert panel.best is not None
    assert (panel.best.y, panel.best.x, panel.best.numbers.n) == (1e-4, 0.2, 4)
    assert {(c.cell.y, c.cell.x) for c in panel.chosen} == {(1e-8, 1.0)}
    assert panel.missing == 16


def test_a_control_is_compared_in_the_cell_that_the_baseline_chose(tmp_path: Path) -> None:
    arms = {**ARMS, "random": {"recipe": "random", "like": "randomout"}}

    def reached(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        as_good = (point[TAU], point[P]) == (1e-8, 1.0)
        same = "randomout" if as_good else "none"
        return rescuing(point, same if arm == "random" else arm, seed)

    plain, control = panels(read_results(write_sweep(tmp_path, arms=arms, reached=reached)))
    assert (plain.versus, control.versus) == ("none", "random")
    assert (plain.against_baseline, control.against_baseline) == (True, False)
    assert plain.key != control.key
    for own, other in zip(plain.chosen, control.chosen, strict=True):
        assert (own.cell.y, own.cell.x) == (other.cell.y, other.cell.x) == (1e-8, 1.0)
        assert (own.after.outcome, other.after.outcome) == ("gain", "unclear")
        assert (other.after.versus, other.after.numbers.mean_difference) == ("random", 0.0)


def test_panels_do_not_mix_what_is_not_swept(tmp_path: Path) -> None:
    def reached(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        return MISSING if point["data.region"] == "West" else rescuing(point, arm, seed)

    grid = {"data.region": ["East", "West"], **GRID}
    east, west = panels(read_results(write_sweep(tmp_path, grid=grid, reached=reached)))
    assert (east.name, west.name) == ("data.region=East", "data.region=West")
    assert (len(east.measured), len(west.measured), west.missing) == (6, 0, 6 * 24)
    assert (west.best, west.mean_gain, west.chosen, west.x_trend) == (None, None, (), None)


def test_crashes_are_failures_without_a_gain(tmp_path: Path) -> None:
    def reached(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        if point[P] == 0.2 and arm == "randomout":
            return CRASHED
        return rescuing(point, arm, seed)

    (panel,) = panels(read_results(write_sweep(tmp_path, reached=reached)))
    for cell in panel.cells:
        if cell.x == 0.2:
            assert (cell.gain, cell.numbers.failed_a, cell.numbers.both) == (None, 12, 12)


def test_a_large_sweep_is_read_without_its_epochs_and_has_panels_for_cells(tmp_path: Path) -> None:
    grid = {TAU: GRID[TAU], P: [round(0.1 * k, 1) for k in range(1, 8)]}
    folder = write_sweep(tmp_path, grid=grid, seeds=range(2))
    large = read_results(folder)
    assert SMALL < 2 * 7
    assert (large.accuracies, large.renewals, large.layers) == ({}, {}, {})
    found = summarise(large)
    assert (found.cells, len(found.panels), found.comparisons) == ((), 1, 14)
    small = read_results(write_sweep(tmp_path / "small", seeds=range(2)))
    assert len(small.accuracies) == len(small.trials) == 24
    assert small.renewals
    assert len(summarise(small).cells) == 6


def test_no_sweep_has_no_panels(rescued: Path, partial: Path) -> None:
    for folder in (rescued, partial):
        results: Results = read_results(folder)
        assert panels(results) == ()
        assert summarise(results).panels == ()
