"""What the report says where numbers are learnt: less is better, in every table, sentence and figure; no percents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regrow.cli.progress import Progress
from regrow.lab.events import Ended
from regrow.lab.plan import plan
from regrow.report import wording
from regrow.report.export import export
from regrow.report.figures import distribution, gains, rates, renewals, sorted_seeds, tasks
from regrow.report.figures.axes import seed_order
from regrow.report.judged import judged_by
from regrow.report.rates import at_their_rates
from regrow.report.read import read_results
from regrow.report.summary import failed_seeds, summarise
from regrow.report.table import arms_table, overview_table, paired_table
from regrow.report.task_numbers import arm_tasks
from regrow.report.task_tables import chance_table, rates_table, tasks_table
from regrow.report.verdict import verdicts
from regrow.study.asked import find_sweep
from regrow.study.document import check_document
from regrow.study.records import EpochRecord, RenewalRecord, TrialResult
from regrow.study.results import Results
from regrow.study.store import Store
from regrow.study.task_records import TaskRecord
from report.drawn import blank, drawn

TASKS, SEEDS = 10, 8
ARMS: dict[str, dict[str, Any]] = {
    "none": {"recipe": "none"},
    "fresh": {"recipe": "restart-each-task"},
    "cbp": {"recipe": "continual-backprop"},
    "random": {"recipe": "random", "like": "cbp"},
}
RATES = [0.01, 0.1, 1.0]
BEST = {"none": 0.01, "fresh": 0.1, "cbp": 0.1, "random": 0.1}


def level(arm: str, task: int, seed: int, rate: float) -> float:
    """Plain training's error grows from 0.5 to 1.4; each arm has a rate that suits it."""
    grown = {"none": 0.1, "fresh": 0.0, "cbp": 0.02, "random": 0.06}[arm.rstrip("0123456789")]
    best = BEST[arm.rstrip("0123456789")]
    noise = np.random.default_rng([seed, task]).normal(0, 0.01)
    return float(0.5 + grown * (task - 1) + 0.2 * abs(np.log10(rate / best)) + noise)


def trial(arm: str, seed: int, *, cell: str, rate: float, status: str = "finished") -> TrialResult:
    errors = [level(arm, task, seed, rate) for task in range(1, TASKS + 1)]
    return TrialResult(
        trial=f"{cell}/{arm}/seed{seed}",
        cell=cell,
        arm=arm,
        seed=seed,
        status=status,  # pyright: ignore[reportArgumentType]
        epochs=tuple(
            EpochRecord(
                epoch=task,
                train_loss=error,
                train_accuracy=None,
                test_loss=error + 0.1,
                test_accuracy=None,
                seconds=0.1,
            )
            for task, error in enumerate(errors, 1)
        ),
        steps=1000,
        renewals=tuple(
            RenewalRecord(step=task, epoch=task, layer="b", filter=0, score=0.0)
            for task in range(1, TASKS + 1)
            if arm in {"cbp", "random"}
        ),
        tasks=tuple(
            TaskRecord(
                task=task, online_accuracy=None, online_loss=error, accuracy=None, loss=error + 0.1
            )
            for task, error in enumerate(errors, 1)
        ),
        judged_loss=errors[-1],
    )


def written(
    folder: Path, *, rated: Sequence[float] = (), arms: dict[str, dict[str, Any]] = ARMS
) -> Path:
    grid = {"train.lr": list(rated)} if rated else {}
    study = {
        "name": folder.name,
        "model": {"name": "mlp"},
        "stream": {"kind": "bit-flipping", "tasks": TASKS, "examples": 100},
        "train": {"lr": 0.1},
        "arms": arms,
        "grid": grid,
        "seeds": list(range(SEEDS)),
    }
    planned = plan(check_document(study, where="test"))
    cells = {f"train.lr={rate}": rate for rate in rated} or {"base": 0.1}
    results = [
        trial(arm, seed, cell=cell, rate=rate)
        for cell, rate in cells.items()
        for arm in arms
        for seed in range(SEEDS)
    ]
    with Store(
        folder,
        document=planned.document,
        fingerprint_document={},
        environment={},
        arms=planned.arms,
    ) as store:
        store.write(*results, finished_at="2026-01-01T13:00:00+00:00")
        assert store.accuracies() == {each.trial: each.judged_loss for each in results}
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return read_results(written(tmp_path_factory.mktemp("one") / "run"))


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return read_results(written(tmp_path_factory.mktemp("rated") / "run", rated=RATES))


def over(arm: str, tasks: Sequence[int] = (TASKS,), *, rate: float = 0.1) -> float:
    return float(np.mean([level(arm, t, s, rate) for t in tasks for s in range(SEEDS)]))


def test_less_is_a_gain_and_more_is_harm(one: Results) -> None:
    (cell,) = summarise(one).cells
    fresh = cell.comparison("fresh", "none")
    assert fresh is not None
    assert fresh.outcome == "gain"
    assert fresh.numbers.mean_difference == pytest.approx(over("fresh") - over("none"))
    assert (fresh.numbers.wins, fresh.numbers.losses) == (SEEDS, 0)
    turned = replace(
        fresh,
        numbers=replace(
            fresh.numbers,
            low=-(fresh.numbers.high or 0.0),
            high=-(fresh.numbers.low or 0.0),
        ),
    )
    assert turned.outcome == "harm"
    control = cell.comparison("cbp", "random")
    assert control is not None
    assert control.outcome == "gain"
    cbp = cell.arm("cbp").accuracy
    values = [level("cbp", TASKS, seed, 0.1) for seed in range(SEEDS)]
    assert (cbp.best, cbp.worst) == (min(values), max(values))
    assert (cbp.failed, cbp.crashed) == (0, 0)


def test_the_sentences_and_tables_call_it_an_error(one: Results) -> None:
    (cell,) = summarise(one).cells
    told = {each.arm: each for each in verdicts(cell)}["cbp"]
    assert told.outcome == "gain"
    none, cbp = (f"{over(arm):.3f}" for arm in ("none", "cbp"))
    assert f"Online mean squared error {none} under none, {cbp} under cbp" in told.text
    assert "so the choice of filters matters" in told.text
    table = arms_table(cell)
    assert table.columns[3:8] == ("Mean", "Median", "SD", "Worst", "Best")
    assert dict(zip(table.columns, table.rows[2], strict=True))["Mean"] == cbp
    assert "Failed: diverged or crashed." in table.caption
    assert "below 0 the first is better" in paired_table(cell).caption
    texts = [told.text, table.caption, paired_table(cell).caption]
    for own in (
        tasks_table(one, "base"),
        chance_table(one, "base"),
        overview_table(summarise(one)),
    ):
        texts += [own.caption, *own.columns]
    for text in texts:
        assert "ccurac" not in text
        assert "points" not in text
    percents = {text for text in texts if "%" in re.sub("95 % CI", "", text)}
    shares = ("Share of the gap", "Of them again", "Dead", "Dormant")
    assert all(text.startswith(shares) for text in percents)


def test_what_each_arm_reached(one: Results) -> None:
    found = {arm.label: arm for arm in arm_tasks(one, "base")}
    gap = over("fresh") - over("none")
    for label, arm in found.items():
        assert arm.first == pytest.approx(over(label, [1]))
        assert arm.last == pytest.approx(over(label))
        assert arm.every == pytest.approx(over(label, range(1, TASKS + 1)))
        assert arm.end == pytest.approx(over(label) + 0.1)
        if label != "none":
            assert arm.kept == pytest.approx((over(label) - over("none")) / gap)
    table = tasks_table(one, "base")
    assert "fresh is below none" in table.caption
    assert table.columns[2] == "First task"
    assert table.rows[0][2] == f"{over('none', [1]):.3f}"


def test_each_arm_at_the_rate_with_the_least_error(rated: Results) -> None:
    found = {each.label: each for each in at_their_rates(rated)}
    assert {label: each.chosen for label, each in found.items()} == {
        label: (rate, rate) for label, rate in BEST.items()
    }
    assert found["fresh"].behind is None
    plain, fresh = over("none", rate=0.01), over("fresh")
    assert found["cbp"].after == pytest.approx(over("cbp"))
    assert found["cbp"].kept == pytest.approx((over("cbp") - plain) / (fresh - plain))
    table = rates_table(rated)
    assert [row[0] for row in table.rows] == ["fresh", "cbp", "random", "none"]
    row = dict(zip(table.columns, table.rows[1], strict=True))
    assert row["Difference"] == wording.signed(over("cbp") - plain, digits=3)
    assert row["Verdict"] == "gain"
    assert row["Behind the first"].startswith("+0.1")
    assert row["Minus picked at random"].startswith(f"{wording.MINUS}0.3")


def test_a_seed_has_failed_if_it_diverged_or_crashed() -> None:
    trials = {
        seed: trial("none", seed, cell="base", rate=0.1, status=status).row(finished_at="")
        for seed, status in enumerate(["finished", "diverged", "crashed"])
    }
    judged = judged_by(
        check_document(
            {"name": "s", "stream": {"kind": "bit-flipping", "tasks": 1}, "arms": ARMS}, where="t"
        ).stream
    )
    assert failed_seeds(trials, judged) == {1, 2}
    assert [judged.of(each) is None for each in trials.values()] == [False, False, True]


def test_nothing_is_a_sweep_of_gains_in_accuracy(tmp_path: Path) -> None:
    study = {
        "name": "s",
        "model": {"name": "mlp"},
        "stream": {"kind": "bit-flipping", "tasks": 2},
        "arms": {"none": ARMS["none"], "redo": {"recipe": "redo"}},
        "grid": {"redo.threshold": [0.1, 0.2], "redo.every_steps": [1, 2]},
        "seeds": [0],
    }
    planned = plan(check_document(study, where="test"))
    with Store(
        tmp_path / "run",
        document=planned.document,
        fingerprint_document={},
        environment={},
        arms=planned.arms,
    ):
        pass
    assert find_sweep(read_results(tmp_path / "run").study) is None


def test_figures_are_in_the_errors_own_unit(one: Results, rated: Results) -> None:
    (curve,) = tasks.accuracy(one, "base")
    assert curve.title == "Online mean squared error, task by task"
    ax = drawn(curve).axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.get_lines()}
    assert lines["none"] == pytest.approx([over("none", [task]) for task in range(1, TASKS + 1)])
    assert ax.get_ylabel() == "Online mean squared error"
    every = [*sorted_seeds.figures(one, "base"), *distribution.figures(one, "base")]
    every += [*rates.figures(rated), *gains.figures(rated), *renewals.figures(one, "base"), curve]
    for each in every:
        figure = drawn(each)
        labels = [ax.get_ylabel() + ax.get_xlabel() for ax in figure.axes]
        assert not any("ccurac" in text or "%" in text for text in labels), each.name
        assert "ccurac" not in each.title + each.caption + each.alt, each.name
    (spread,) = distribution.figures(one, "base")
    assert drawn(spread).axes[0].get_ylim()[1] < 3.0
    # From the worst to the best.
    order = seed_order(one, "base")
    errors = [level("none", TASKS, seed, 0.1) for seed in order]
    assert errors == sorted(errors, reverse=True)


def test_errors_that_are_many_times_as_large_have_a_logarithmic_scale(tmp_path: Path) -> None:
    results = read_results(written(tmp_path / "run"))
    blown = tuple(
        replace(each, test_loss=1e9) if each.seed == 0 else each for each in results.trials
    )
    (spread,) = distribution.figures(replace(results, trials=blown), "base")
    assert drawn(spread).axes[0].get_yscale() == "log"


def test_of_many_arms_panels_are_not_cut_off_at_a_hundred(tmp_path: Path) -> None:
    more = {f"cbp{number}": {"recipe": "continual-backprop"} for number in range(5)}
    arms = {**{key: ARMS[key] for key in ("none", "fresh", "cbp")}, **more}
    results = read_results(written(tmp_path / "run", arms=arms))
    tall = {
        name: tuple(
            replace(each, online_loss=(each.online_loss or 0.0) + 500.0) for each in records
        )
        for name, records in results.of(TaskRecord).items()
    }
    results = replace(results, details={**results.details, TaskRecord: tall})
    (curve,) = tasks.accuracy(results, "base")
    assert drawn(curve).axes[0].get_ylim()[1] > 500.0


def test_the_page_and_the_files(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", rated=RATES)
    with blank():
        export(folder, tmp_path / "out")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Online mean squared error in the last of 10 tasks" in page
    assert "A seed has failed if its loss or weights became non-finite" in page
    assert "naming the commonest class" not in page
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "ccuracy" not in readme
    cell = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["cells"][0]
    assert cell["less_is_better"]
    assert cell["judged_by"] == "Online mean squared error in the last of 10 tasks"


def test_progress_tells_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    from regrow.cli import progress as shown

    study = {
        "name": "s",
        "model": {"name": "mlp"},
        "stream": {"kind": "bit-flipping", "tasks": TASKS},
        "arms": {"none": ARMS["none"]},
        "seeds": [0, 1],
    }
    specs = plan(check_document(study, where="test")).trials
    progress = Progress(specs, {specs[0].trial: 0.25})
    event = Ended(specs[1], trial("none", 1, cell="base", rate=0.1))
    said: list[str] = []
    monkeypatch.setattr(shown, "say", said.append)
    lines: Callable[[Ended], None] = shown.Lines(progress)
    lines(event)
    error = level("none", TASKS, 1, 0.1)
    assert f"base/none/seed1: {error:.3f}" in said[0]
    assert f"mean none {(0.25 + error) / 2:.3f} " in said[0]
