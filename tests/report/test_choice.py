"""The control for a choice of filters is the arm that differs in nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.table import arms_table, paired_table
from regrow.report.verdict import verdicts
from report.stored import neutral, related

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]

REPR = {"s1": 6, "s2": 3, "fraction": 0.3, "rank_by": "overlap", "corrected": False}
ARMS: dict[str, dict[str, object]] = {
    "none": {"recipe": "none"},
    "repr": {"recipe": "repr", "settings": REPR},
    "weights": {"recipe": "repr", "settings": REPR | {"rank_by": "weights"}},
    "corrected": {"recipe": "repr", "settings": REPR | {"corrected": True}},
    "half": {"recipe": "repr", "settings": REPR | {"fraction": 0.5}},
    "slow": {"recipe": "repr", "settings": REPR, "train": {"lr": 0.001}},
    "chance": {"recipe": "repr", "settings": REPR | {"rank_by": "random"}},
    "redraw": {"recipe": "random", "like": "repr"},
}


def some(*labels: str) -> dict[str, dict[str, object]]:
    return {label: ARMS[label] for label in labels}


def test_it_is_the_arm_that_differs_in_the_ranking_alone() -> None:
    found = related(ARMS)["base"]
    assert [label for label, arm in found.items() if arm.neutral] == ["chance"]
    assert neutral(found) == {"repr": "chance", "weights": "chance", "corrected": "chance"}


def test_training_settings_that_say_the_same_are_the_same() -> None:
    arms = some("repr", "chance")
    arms["repr"] = arms["repr"] | {"train": {"lr": 0.1}}
    assert neutral(related(arms)["base"]) == {"repr": "chance"}


@pytest.mark.parametrize(
    ("key", "values", "found"),
    [
        ("train.lr", [6.0, 7.0], ["chance", "chance"]),
        ("repr.s1", [6, 7], ["chance", None]),
        ("arms.repr.settings.s1", [6, 7], ["chance", None]),
        ("repr.train.lr", [6.0, 7.0], [None, None]),
        ("chance.rank_by", ["random", "weights"], ["chance", None]),
    ],
)
def test_a_grid_may_make_them_differ_in_one_cell_and_not_in_another(
    key: str, values: list[object], found: list[str | None]
) -> None:
    told = related(some("repr", "chance"), {key: values})
    assert [cell["repr"].neutral_control for cell in told.values()] == found


def test_defaults_are_written_out_before_arms_are_compared() -> None:
    arms = {
        "chance": {"recipe": "repr", "settings": {"s1": 5, "rank_by": "random", "fraction": 0.3}},
        "repr": {"recipe": "repr", "settings": {"s1": 5}},
    }
    assert neutral(related(arms)["base"]) == {"repr": "chance"}


def test_it_is_compared_as_a_control_and_marked(new_cycled: Callable[..., Path]) -> None:
    folder = new_cycled(arms=some("none", "repr", "half", "chance", "redraw"))
    (cell,) = summarise(read_results(folder)).cells
    assert [(c.arm, c.versus) for c in cell.comparisons if c.role == "control"] == [
        ("repr", "chance"),
        ("repr", "redraw"),
    ]
    assert cell.arm("repr").neutral_control == "chance"
    assert cell.arm("half").neutral_control is None
    assert [row[0] for row in paired_table(cell).rows][-2:] == [
        f"repr \N{MINUS SIGN} {other}" for other in ("chance", "redraw")
    ]
    recipes = {row[0]: row[1] for row in arms_table(cell).rows}
    assert recipes["chance"] == "repr (ranked at random)"
    assert recipes["redraw"] == "random (control of repr)"
    assert recipes["repr"] == "repr"


CHOICE, ALONE = "so the choice of filters matters", "Whether the choice alone matters is not shown"
TOGETHER = "so the choice, the phase and the new directions together matter"


@pytest.mark.parametrize(
    ("labels", "said", "unsaid"),
    [
        (("chance", "redraw"), (CHOICE, TOGETHER), (ALONE, "no random control")),
        (("chance",), (CHOICE,), (TOGETHER, ALONE, "no random control")),
        (("redraw",), (TOGETHER, ALONE), (CHOICE, "no random control")),
        (("half",), ("It has no random control of its own",), (CHOICE, TOGETHER, ALONE)),
    ],
    ids=lambda value: value[0] if len(value) == 1 else None,
)
def test_what_is_shown_follows_from_the_controls_that_are_there(
    new_cycled: Callable[..., Path],
    labels: tuple[str, ...],
    said: tuple[str, ...],
    unsaid: tuple[str, ...],
) -> None:
    folder = new_cycled(
        arms=some("none", "repr", *labels),
        seeds=9,
        accuracy={"none": 0.7, "repr": 0.9, "half": 0.9, "chance": 0.75, "redraw": 0.6},
    )
    (cell,) = summarise(read_results(folder)).cells
    text = {verdict.arm: verdict.text for verdict in verdicts(cell)}["repr"]
    assert all(words in text for words in said)
    assert not any(words in text for words in unsaid)
    if "redraw" in labels:
        assert (
            "with no phase without them: 60.4 %, 0 of 9 seeds failed. repr minus redraw: +30.0 points"
            in text
        )
    if "chance" in labels:
        assert (
            "for the choice, chance, has the same settings and ranks the filters at random: 75.4 %"
            in text
        )


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (0.9, "is not shown to matter"),
        (0.95, "so picking filters at random does better"),
    ],
)
def test_a_choice_that_is_no_better_than_chance_is_told_so(
    new_cycled: Callable[..., Path], control: float, words: str
) -> None:
    folder = new_cycled(
        arms=some("none", "repr", "chance"),
        seeds=8,
        accuracy={"none": 0.7, "repr": 0.9, "chance": control},
    )
    (cell,) = summarise(read_results(folder)).cells
    text = {verdict.arm: verdict.text for verdict in verdicts(cell)}
    assert words in text["repr"]
    assert "It ranks its filters at random: a control, not a choice." in text["chance"]
    assert "no random control" not in text["chance"]


def test_a_control_that_is_the_baseline_is_told_from_the_same_numbers(
    new_cycled: Callable[..., Path],
) -> None:
    folder = new_cycled(arms=some("chance", "repr"), seeds=8, accuracy={"chance": 0.7, "repr": 0.9})
    (cell,) = summarise(read_results(folder)).cells
    assert len(cell.comparisons) == 1
    (verdict,) = verdicts(cell)
    assert CHOICE in verdict.text


def test_where_nothing_leaves_the_network_a_replay_is_the_control(rescued: Path) -> None:
    (cell,) = summarise(read_results(rescued)).cells
    (verdict,) = verdicts(cell)
    assert "at the same steps, picked at random: " in verdict.text
    assert CHOICE in verdict.text
    assert ALONE not in verdict.text


def test_filters_that_are_out_at_the_end_are_told(
    cycled: Path, new_run: Callable[..., RunFolder]
) -> None:
    (cell,) = summarise(read_results(cycled)).cells
    arm = cell.arm("repr")
    assert (arm.trials_dropped, arm.trials_resting, arm.resting) == (2, 2, 2)
    text = {verdict.arm: verdict.text for verdict in verdicts(cell)}["repr"]
    assert "2 trials of repr ended with filters out of the network (2 in all)" in text
    run = new_run(seeds=range(2))
    run.fill(arms={"none": (0.5, 0.87), "randomout": (0.06, 0.88)}, seeds=2)
    (cell,) = summarise(read_results(run.close())).cells
    assert all("out of the network" not in verdict.text for verdict in verdicts(cell))
