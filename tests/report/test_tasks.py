"""What the report says of a study with a stream: numbers worked out by hand from the records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regrow.report import wording
from regrow.report.export import export
from regrow.report.figures import rates, tasks
from regrow.report.judged import judged_by
from regrow.report.rates import at_their_rates
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.table import arms_table
from regrow.report.task_numbers import arm_tasks
from regrow.report.task_tables import chance_table, rates_table, tasks_table
from regrow.report.verdict import verdicts
from regrow.study.records import EpochRecord, LayerRecord, RenewalRecord, TrialResult
from regrow.study.results import Results
from regrow.study.statistics import t_interval
from regrow.study.stream import Interpolated, Noisy, Permuted
from regrow.study.task_records import HealthRecord, ProbeRecord, TaskRecord
from report.drawn import blank, drawn
from report.stored import opened

TASKS, PER_TASK, SEEDS = 20, 2, 8
STREAM = {"kind": "permuted", "tasks": TASKS, "epochs": PER_TASK}
ARMS = {
    "none": {"recipe": "none"},
    "fresh": {"recipe": "restart-each-task"},
    "redo": {"recipe": "redo"},
    "random": {"recipe": "random", "like": "redo"},
}
RATES = [0.01, 0.1, 1.0]


def level(arm: str, task: int, seed: int, rate: float) -> float:
    """Plain training falls from 0.8 to 0.42, a fresh network keeps 0.8; each arm has a rate that suits it."""
    lost = {"none": 0.02, "fresh": 0.0, "redo": 0.004, "random": 0.01}[arm.rstrip("0123456789")]
    best = {"none": 0.01, "fresh": 1.0, "redo": 0.1, "random": 0.1}[arm.rstrip("0123456789")]
    noise = np.random.default_rng([seed, task]).normal(0, 0.01)
    return 0.8 - lost * (task - 1) - 0.05 * abs(np.log10(rate / best)) + noise


def trial(arm: str, seed: int, *, cell: str, rate: float, reached: int = TASKS) -> TrialResult:
    online = [level(arm, task, seed, rate) for task in range(1, reached + 1)]
    last = [*online, *[0.0] * (TASKS - reached)][-2:]
    acts = arm in {"redo", "random"}
    return TrialResult(
        trial=f"{cell}/{arm}/seed{seed}",
        cell=cell,
        arm=arm,
        seed=seed,
        status="finished" if reached == TASKS else "diverged",
        majority_share=0.1,
        epochs=tuple(
            EpochRecord(
                epoch=epoch,
                train_loss=1.0,
                train_accuracy=online[(epoch - 1) // PER_TASK],
                test_loss=None,
                test_accuracy=None,
                seconds=0.1,
            )
            for epoch in range(1, reached * PER_TASK + 1)
        ),
        steps=10 * reached * PER_TASK,
        renewals=tuple(
            RenewalRecord(step=20 * task, epoch=2 * task, layer="b", filter=unit, score=0.0)
            for task in range(1, reached + 1)
            for unit in range(3 if acts else 0)
        ),
        layers=(LayerRecord(layer="a", filters=30), LayerRecord(layer="b", filters=10)),
        tasks=tuple(
            TaskRecord(
                task=task, online_accuracy=right, online_loss=1.0, accuracy=right + 0.1, loss=0.9
            )
            for task, right in enumerate(online, 1)
        ),
        health=tuple(
            HealthRecord(
                task=task, layer=layer, dead=share, dormant=share + 0.1, weight_norm=2.0 + task
            )
            for task in range(1, reached + 1)
            for layer, share in (("a", 0.1), ("b", 0.5))
        ),
        probes=tuple(
            ProbeRecord(task=task, gap=0.01 * task if arm == "none" else -0.02)
            for task in range(1, reached + 1)
        ),
        judged=sum(last) / 2,
    )


def written(
    folder: Path,
    *,
    rated: Sequence[float] = (),
    seeds: int = SEEDS,
    arms: Mapping[str, Any] = ARMS,
    stream: Mapping[str, Any] = STREAM,
) -> Path:
    grid = {"train.lr": list(rated)} if rated else {}
    store = opened(
        folder,
        arms=arms,
        stream=dict(stream),
        model={"name": "mlp"},
        grid=grid,
        seeds=list(range(seeds)),
        train={"lr": 0.1},
    )
    cells = {f"train.lr={rate}": rate for rate in rated} or {"base": 0.1}
    results = [
        trial(arm, seed, cell=cell, rate=rate)
        for cell, rate in cells.items()
        for arm in arms
        for seed in range(seeds)
    ]
    store.write(*results, finished_at="2026-01-01T13:00:00+00:00")
    store.close()
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return read_results(written(tmp_path_factory.mktemp("one") / "run"))


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return read_results(written(tmp_path_factory.mktemp("rated") / "run", rated=RATES))


def over(
    arm: str, tasks: Sequence[int], *, rate: float = 0.1, seeds: Sequence[int] = range(SEEDS)
) -> float:
    return float(np.mean([level(arm, task, seed, rate) for task in tasks for seed in seeds]))


def test_what_each_arm_reached(one: Results) -> None:
    seeds = range(SEEDS)
    found = {arm.label: arm for arm in arm_tasks(one, "base")}
    assert list(found) == list(ARMS)
    for label, arm in found.items():
        assert arm.n == SEEDS
        assert arm.first == pytest.approx(over(label, [1, 2], seeds=seeds))
        assert arm.last == pytest.approx(over(label, [19, 20], seeds=seeds))
        assert arm.every == pytest.approx(over(label, range(1, 21), seeds=seeds))
        assert arm.end == pytest.approx(over(label, [19, 20], seeds=seeds) + 0.1)
        # Three quarters of the units are in layer a.
        assert arm.dead == pytest.approx(0.75 * 0.1 + 0.25 * 0.5)
        assert arm.dormant == pytest.approx(0.3)
        assert arm.renewed == (3.0 if label in {"redo", "random"} else 0.0)
    # All levels lie on lines, and the noise is that of the seed: shares are those of the lines.
    gap = over("fresh", [19, 20], seeds=seeds) - over("none", [19, 20], seeds=seeds)
    own = over("redo", [19, 20], seeds=seeds) - over("none", [19, 20], seeds=seeds)
    assert found["redo"].kept == pytest.approx(own / gap)
    assert found["fresh"].kept == pytest.approx(1.0)
    assert found["none"].kept is None


def test_no_share_of_a_gap_that_is_not_shown(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", seeds=1)
    assert all(arm.kept is None for arm in arm_tasks(read_results(folder), "base"))


def test_the_tables_say_it(one: Results) -> None:
    table = tasks_table(one, "base")
    assert table.columns[2:4] == ("First 2 tasks (%)", "Last 2 tasks (%)")
    row = dict(zip(table.columns, table.rows[2], strict=True))
    assert row["Arm"] == "redo"
    assert row["Renewed per task"] == "3.0"
    assert (row["Of them again (%)"], row["Fresh-probe gap"]) == (
        "100",
        wording.decimal(-0.02, digits=2),
    )
    assert table.rows[0][-1] == "0.20"
    assert "diagnostics.probe_steps" in table.caption
    assert row["Share of the gap (%)"] not in {"", wording.NOTHING}
    assert "fresh is above none" in table.caption
    chance = chance_table(one, "base")
    ((arm, other, renewed, n, difference, *_),) = chance.rows
    assert (arm, other, renewed, n) == ("redo", "random", "3.0 / 3.0", str(SEEDS))
    seeds = range(SEEDS)
    points = 100 * (over("redo", [19, 20], seeds=seeds) - over("random", [19, 20], seeds=seeds))
    assert difference == f"+{points:.1f}"


def test_the_words_are_those_of_what_is_compared(one: Results) -> None:
    (cell,) = summarise(one).cells
    assert "Online accuracy in the last 2 of 20 tasks." in arms_table(cell).caption
    assert "Mean online accuracy" in verdicts(cell)[0].text
    assert "est accuracy" not in arms_table(cell).caption + verdicts(cell)[0].text
    noisy = Noisy(kind="noisy", tasks=2, epochs=1)
    assert judged_by(noisy).whole == "Test accuracy at the end of the last of 2 tasks"
    long = Permuted(kind="permuted", tasks=100, epochs=1)
    moving = Interpolated(kind="interpolated", of="random-labels", tasks=20, steps=1)
    assert judged_by(moving).whole == "Accuracy at the end of the last 2 of 20 tasks"
    assert judged_by(long).whole == "Online accuracy in the last 10 of 100 tasks"


def test_each_seed_is_judged_at_the_rate_that_the_other_half_chose(rated: Results) -> None:
    found = {each.label: each for each in at_their_rates(rated)}
    assert {label: each.chosen for label, each in found.items()} == {
        "none": (0.01, 0.01),
        "fresh": (1.0, 1.0),
        "redo": (0.1, 0.1),
        "random": (0.1, 0.1),
    }
    assert [each.at_the_end for each in found.values()] == [True, True, False, False]
    seeds = range(SEEDS)
    redo = found["redo"]
    assert redo.after is not None
    assert redo.after == pytest.approx(over("redo", [19, 20], seeds=seeds))
    assert redo.before == pytest.approx(redo.after)
    assert redo.versus is not None
    plain = over("none", [19, 20], rate=0.01, seeds=seeds)
    assert redo.versus.numbers.n == SEEDS
    assert redo.versus.numbers.mean_difference == pytest.approx(redo.after - plain)
    fresh = over("fresh", [19, 20], rate=1.0, seeds=seeds)
    assert redo.kept == pytest.approx((redo.after - plain) / (fresh - plain))
    assert redo.chance is not None
    assert redo.chance.numbers.mean_difference == pytest.approx(
        redo.after - over("random", [19, 20], seeds=seeds)
    )
    assert (found["none"].versus, found["none"].chance, found["none"].kept) == (None, None, None)
    assert found["fresh"].behind is None
    assert redo.behind is not None
    assert redo.behind.numbers.mean_difference == pytest.approx(redo.after - fresh)
    table = rates_table(rated)
    ranked = sorted(found.values(), key=lambda each: -(each.after or 0.0))
    assert [row[0] for row in table.rows] == [each.label for each in ranked]
    rows = {row[0]: row[1:3] for row in table.rows}
    assert rows["none"] == ("0.01", "yes")
    assert rows["redo"] == ("0.1", "")


def test_halves_that_choose_otherwise_judge_each_other_there(tmp_path: Path) -> None:
    """Even seeds are best at 1, odd ones at 0.01: so even ones are judged at 0.01, and odd ones at 1."""
    folder = written(tmp_path / "run", rated=RATES, seeds=4)
    with closing(sqlite3.connect(folder / "results.sqlite")) as database, database:
        for rate, high in ((0.01, 1), (1.0, 0)):
            database.execute(
                "UPDATE trials SET test_accuracy = 0.9 WHERE arm = 'redo' AND cell = ? AND seed % 2 = ?",
                (f"train.lr={rate}", high),
            )
            database.execute(
                "UPDATE trials SET test_accuracy = 0.3 WHERE arm = 'redo' AND cell = ? AND seed % 2 = ?",
                (f"train.lr={rate}", 1 - high),
            )
    redo = {each.label: each for each in at_their_rates(read_results(folder))}["redo"]
    assert (redo.chosen, redo.at_the_end) == ((1.0, 0.01), True)
    assert (redo.before, redo.after) == (pytest.approx(0.9), pytest.approx(0.3))


def test_only_a_stream_over_rates_alone_has_them(one: Results) -> None:
    assert at_their_rates(one) == ()
    assert rates_table(one).rows == ()


def test_figures(one: Results, rated: Results) -> None:
    found = [*tasks.accuracy(one, "base"), *tasks.health(one, "base"), *tasks.renewals(one, "base")]
    found += tasks.probes(one, "base")
    assert [each.name for each in found] == ["tasks", "health", "renewals-by-task", "probes"]
    assert all(f"n = {SEEDS} seeds" in each.caption for each in found)
    (curve,) = rates.figures(rated)
    assert "Online accuracy in the last 2 of 20 tasks" in curve.caption
    for each in (*found, curve):
        lines = [line for ax in drawn(each).axes for line in ax.get_lines()]
        assert len(lines) >= 2


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        ({"kind": "class-incremental", "tasks": TASKS, "steps": 3, "group": 1}, "falls with each"),
        ({**STREAM, "kind": "interpolated", "of": "permuted"}, "Dashed: what chance reaches"),
    ],
)
def test_where_trials_are_judged_at_the_end_of_tasks_that_is_drawn(
    tmp_path: Path, stream: dict[str, Any], told: str
) -> None:
    results = read_results(written(tmp_path / "run", seeds=2, stream=stream))
    online, end = *tasks.accuracy(results, "base"), *tasks.at_end(results, "base")
    assert (online.name, end.name) == ("tasks", "tasks-end")
    assert end.title == "Test accuracy at the end of each task"
    for drawing, more in ((online, 0.0), (end, 0.1)):
        assert told in drawing.caption
        (ax,) = drawn(drawing).axes
        by_arm = {line.get_label(): line for line in ax.get_lines()}
        for arm in ARMS:
            last = [level(arm, TASKS, seed, 0.1) + more for seed in range(2)]
            found = np.asarray(by_arm[arm].get_ydata())[-1]
            assert found == pytest.approx(100 * sum(last) / 2)
        # A line of chance stands where it is one number.
        assert len(ax.get_lines()) == len(ARMS) + ("Dashed" in told)
    words = "the classes that have arrived" if "falls" in told else "that has moved in"
    assert words in judged_by(results.study.stream).told


def test_where_trials_are_judged_online_the_end_is_not_drawn(one: Results) -> None:
    assert list(tasks.at_end(one, "base")) == []


def test_of_many_arms_each_has_a_panel_beside_plain_and_fresh(tmp_path: Path) -> None:
    more = {f"redo{number}": {"recipe": "redo"} for number in range(4)}
    folder = written(tmp_path / "run", rated=RATES, arms={**ARMS, **more})
    results = read_results(folder)
    for drawing in (*tasks.accuracy(results, "train.lr=0.1"), *rates.figures(results)):
        assert "Black: none, dashed: fresh; in colour: the panel's arm" in drawing.caption
        panels = drawn(drawing).axes
        assert [ax.get_title(loc="left") for ax in panels] == ["redo", "random", *more]
        assert len({ax.get_ylim() for ax in panels}) == 1
        for ax, arm in zip(panels, ["redo", "random", *more], strict=True):
            ends = [float(np.asarray(line.get_ydata())[-1]) for line in ax.get_lines()[:3]]
            last, rate = ([20], 0.1) if drawing.name == "tasks" else ([19, 20], 1.0)
            expected = [over(each, last, rate=rate) for each in ("none", "fresh", arm)]
            assert ends == pytest.approx([100 * each for each in expected])


def test_an_interval_of_the_mean() -> None:
    """Student's t of three values: 4.302653 times the standard error, from tables."""
    ends = t_interval([1.0, 2.0, 3.0])
    assert ends == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)


def test_the_page_and_the_files_have_all_of_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", rated=RATES, seeds=2)
    with blank():
        names = {path.name for path in export(folder, tmp_path / "out")}
    assert "rates.md" in names
    assert {name.partition("-")[0] for name in names} >= {"tasks", "chance", "arms", "paired"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    for text in (
        "Each arm at its own learning rate",
        "Over the tasks",
        "Criterion against chance",
        "Online accuracy in the last 2 of 20 tasks.",
        "stream.tasks",
    ):
        assert text in page
    assert "Accuracy is that of the test set after the" not in page
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert [each["label"] for each in summary["rates"]] == list(ARMS)
    assert [each["label"] for each in summary["cells"][0]["tasks"]] == list(ARMS)
    assert summary["cells"][0]["judged_by"] == "Online accuracy in the last 2 of 20 tasks"
