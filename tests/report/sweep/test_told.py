"""The words of a sweep say what its numbers do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regrow.report.read import read_results
from regrow.report.sweep.panels import Panel, panels
from regrow.report.sweep.told import choice, findings, headline, outcome
from report.sweep_study import GRID, MISSING, TAU, P, Reached, rescuing, write_sweep


def told(folder: Path, **options: object) -> tuple[Panel, str]:
    """The only panel of a study, and its findings."""
    (panel,) = panels(read_results(write_sweep(folder, **options)))  # type: ignore[arg-type]
    return panel, " ".join(findings(panel))


def constant(gain: float) -> Reached:
    """Every seed learns; the arm differs by a constant."""
    return lambda _, arm, seed: 0.8 + seed / 1000 + gain * (arm != "none")


def test_a_rescue_is_told_with_its_best_cell_and_its_trends(tmp_path: Path) -> None:
    panel, text = told(tmp_path)
    assert outcome(panel) == "gain"
    assert headline(panel) == "a gain in the chosen cell, on seeds that did not choose it"
    assert (
        "Of 6 cells the 95 % interval of the mean paired gain lies above 0 in 3 and below 0 in 1."
        in text
    )
    assert "at threshold 1e-08, active_fraction 1.0, too large by being picked from 6." in text
    assert "falls with threshold (rank correlation" in text
    assert "4 of 12 seeds failed under none. At best randomout recovered 4 of 4 (" in text
    assert "missing" not in text
    assert "no filter was renewed" not in text


def test_the_choice_is_told_with_both_halves(tmp_path: Path) -> None:
    panel, _ = told(tmp_path)
    text = " ".join(choice(panel))
    assert (
        "The 6 seeds at even places of the study's list, counted from 0, choose threshold 1e-08, "
        in text
    )
    assert "On the 6 seeds held back it gives +" in text
    assert (
        "Of the seeds that chose, 2 of 6 failed under none, 0 under randomout; of those held back, 2 of 6 failed"
        in text
    )
    assert "With the halves exchanged, threshold 1e-08, active_fraction 1.0 is chosen" in text


def test_no_gain_is_called_so(tmp_path: Path) -> None:
    panel, text = told(tmp_path / "zero", reached=constant(0.0))
    assert text.startswith("No gain: in none of 6 cells does the 95 % interval")
    assert "No cell has a mean gain above 0; the largest is 0.0 points." in text
    assert "No seed failed under none; under randomout, up to 0 did." in text
    assert "rank correlation" not in text
    assert headline(panel).startswith("no gain shown")
    panel, text = told(tmp_path / "harm", reached=constant(-0.01))
    assert text.startswith("No gain: of 6 cells the 95 % interval")
    assert headline(panel).startswith("harm")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    def half(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        gone = point[TAU] == 1e-4 or (arm == "randomout" and seed > 8)
        return MISSING if gone else rescuing(point, arm, seed)

    _, text = told(tmp_path, reached=half)
    assert text.startswith("81 of 144 trials of this panel are missing; 3 cells without a pair")
    assert "of 9 seeds failed under none" in text
    assert "threshold (rank" not in text


def test_nothing_yet(tmp_path: Path) -> None:
    panel, text = told(tmp_path, reached=lambda *_: MISSING)
    assert "144 of 144 trials of this panel are missing" in text
    assert "No cell has enough pairs for a verdict." in text
    assert choice(panel) == ("No cell is chosen yet: no seed has ended under both arms.",)
    assert headline(panel) == "too few pairs to tell"


def test_one_seed_chooses_and_leaves_none_to_show(tmp_path: Path) -> None:
    panel, _ = told(tmp_path, seeds=[3])
    text = " ".join(choice(panel))
    assert text.startswith("The 1 seed at even places")
    assert text.endswith("No seed that was held back has ended under both arms yet.")


def test_an_arm_that_renews_nothing_is_plain_training(tmp_path: Path) -> None:
    _, text = told(tmp_path, reached=constant(0.0), renewing=False)
    assert text.endswith(
        "In 6 cells no filter was renewed in any trial: there the arm is plain training."
    )


def test_a_seed_that_is_lost_elsewhere_is_told(tmp_path: Path) -> None:
    def swapped(point: Mapping[str, object], arm: str, seed: int) -> float:
        return 0.5 if seed < 3 - 2 * (arm != "none") or seed == 11 * (arm != "none") else 0.8

    _, text = told(tmp_path, reached=swapped, grid=GRID | {P: [0.5, 0.6]})
    assert (
        "3 of 12 seeds failed under none. At best randomout recovered 2 of 3, and lost 1 that had not"
        in text
    )
