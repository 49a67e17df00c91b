"""What a study found: every number of the report, computed once from the stored trials.

Called by `report/write` and `cli/report`; tables, verdicts and figures take their numbers from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Final

from regrow.report.compared import Reached, compare, majority_share, reached
from regrow.report.effort import effort
from regrow.report.findings import ArmNumbers, CellSummary, Comparison, StudySummary, Versus
from regrow.report.judged import Judged, judged_by
from regrow.report.rates import at_their_rates
from regrow.report.several import WAYS, Several, several
from regrow.report.sweep.panels import Chosen, Panel, panels
from regrow.report.sweep.told import choice, findings, headline
from regrow.report.task_numbers import arm_tasks
from regrow.report.weights import carried
from regrow.study.records import ArmRecord, RestingRecord, Trial
from regrow.study.results import Results
from regrow.study.statistics import is_failed, mean_of, summary

SUMMARY_VERSION: Final = 1
_PLAIN: Final = judged_by(None)
_COST: Final = ("networks", "epochs", "teachers", "files", "own_model", "relative")


def summarise(results: Results) -> StudySummary:
    """Compute every number of the report; of a large sweep the panels stand for the cells."""
    return StudySummary(
        name=results.study.name,
        expected=results.study.trials,
        ended=len(results.trials),
        cells=() if results.large else tuple(_cell(results, cell) for cell in results.cells),
        panels=panels(results),
    )


def summary_document(results: Results, found: StudySummary) -> dict[str, object]:
    """Put a summary into plain values for JSON: `cells`, and of a sweep `sweep`, of a large one that alone."""
    document: dict[str, object] = {
        "summary_version": SUMMARY_VERSION,
        "study": dict(results.study.document),
        "fingerprint": results.fingerprint,
        "environment": dict(results.environment),
        "trials": {"expected": found.expected, "ended": found.ended, "missing": found.missing},
    }
    spent = effort(results)
    if spent is not None:
        document["network_epochs"] = asdict(spent)
    if rates := at_their_rates(results):
        document["rates"] = [asdict(each) for each in rates]
    if found.panels:
        document["sweep"] = {"panels": [_panel(panel) for panel in found.panels]}
    if found.cells or not found.panels:
        document["cells"] = [_cell_document(results, cell) for cell in found.cells]
    return document


def _cell_document(results: Results, cell: CellSummary) -> dict[str, object]:
    return {
        "cell": cell.cell,
        "majority_share": cell.majority_share,
        "baseline": cell.baseline,
        "trials": {"expected": cell.expected, "ended": cell.ended},
        "arms": [_arm_document(arm) for arm in cell.arms],
        "comparisons": [asdict(each) | {"outcome": each.outcome} for each in cell.comparisons],
        "several": [_several(own) for own in cell.several],
        "joint": [asdict(each) | {"outcome": each.outcome} for each in cell.joint],
        "weights": [asdict(weights) for weights in carried(results, cell.cell)],
        **({} if results.study.stream is None else _tasks(results, cell)),
    }


def _tasks(results: Results, cell: CellSummary) -> dict[str, object]:
    """What a stream has besides."""
    return {
        "judged_by": cell.judged.whole,
        **({"less_is_better": True} if cell.judged.unit.lower else {}),
        "tasks": [asdict(arm) for arm in arm_tasks(results, cell.cell)],
    }


def _arm_document(arm: ArmNumbers) -> dict[str, object]:
    filters, shares = arm.decides == "filters", arm.decides == "shares"
    asked = {field.name for field in fields(ArmRecord)}
    return {
        "label": arm.label,
        "recipe": arm.recipe,
        "replays": arm.replays,
        "ranked_at_random": filters and arm.neutral,
        "choice_control": arm.neutral_control if filters else None,
        "networks": arm.networks,
        "averages": shares and arm.neutral,
        "averaging_control": arm.neutral_control if shares else None,
        "apart_control": arm.apart_control,
        **{name: value for name, value in asdict(arm).items() if name not in asked},
        "cost": _of(arm, *_COST),
        "missing": arm.missing,
    }


def _several(own: Several) -> dict[str, object]:
    """Seeds are keys of text in JSON; here they and their accuracies are pairs."""
    pairs = {way: list(map(list, found.items())) for way, found in own.together.items()}
    return {**asdict(own), "together": pairs}


def _panel(panel: Panel) -> dict[str, object]:
    return {
        "panel": panel.name,
        **_of(panel, "arm", "versus"),
        "headline": headline(panel),
        "findings": [*findings(panel), *choice(panel)],
        "x": asdict(panel.x),
        "y": asdict(panel.y),
        **_of(panel, "seeds", "missing", "mean_gain", "x_trend", "y_trend"),
        "best": None if panel.best is None else panel.best.cell,
        "chosen": [_chosen(chosen) for chosen in panel.chosen],
        "cells": [
            _of(cell, "cell", "x", "y", "renewed", "missing") | _comparison(cell.comparison)
            for cell in panel.cells
        ],
    }


def _chosen(chosen: Chosen) -> dict[str, object]:
    return {
        "half": chosen.half,
        **_of(chosen.cell, "cell", "x", "y"),
        **_of(chosen, "choosing", "held_back"),
        "before": _comparison(chosen.before),
        "after": _comparison(chosen.after),
    }


def _comparison(comparison: Comparison) -> dict[str, object]:
    return {"numbers": asdict(comparison.numbers), "outcome": comparison.outcome}


def _of(record: object, *names: str) -> dict[str, object]:
    return {name: getattr(record, name) for name in names}


def failed_seeds(trials: Mapping[int, Trial], judged: Judged = _PLAIN) -> frozenset[int]:
    """The seeds that failed in one arm, by the same rule as in every table."""
    return frozenset(
        seed
        for seed, trial in trials.items()
        if trial.status != "finished"
        or (
            not judged.unit.lower
            and is_failed(trial.test_accuracy, majority_share=trial.majority_share or 0.0)
        )
    )


def _cell(results: Results, cell: str) -> CellSummary:
    study, arms = results.study, results.study.by_cell[cell]
    joined = several(results, cell)
    share = majority_share(results, cell)
    judged = judged_by(study.stream)
    known = {label: reached(label, results.arm(cell, label), judged) for label in arms}
    as_one = {
        (name := own.name(way)): Reached(name, found, known[own.label].diverged)
        for own in joined
        for way, found in own.together.items()
    }
    pairs, joint = _pairs(arms, study.baseline), _joint_pairs(joined, arms, study.baseline)
    every = known | as_one
    told, told_as_one = (
        tuple(
            compare(every[first], every[second], role=role, share=share)
            for first, second, role in kind
            if first in every and second in every
        )
        for kind in (pairs, joint)
    )
    return CellSummary(
        cell=cell,
        majority_share=share,
        baseline=study.baseline,
        expected=study.trials_per_cell,
        arms=tuple(_arm(arm, results, known[arm.label], share=share) for arm in arms.values()),
        comparisons=told,
        several=joined,
        joint=told_as_one,
        judged=judged,
    )


def _pairs(arms: Mapping[str, ArmRecord], baseline: str) -> list[tuple[str, str, Versus]]:
    """Each arm with the baseline; then with its controls: the neutral one, a replay, networks apart."""
    controls = [
        *_neutral(arms, "filters"),
        *((arm.replays, label) for label, arm in arms.items() if arm.replays is not None),
        *_neutral(arms, "shares"),
        *((label, arm.apart_control) for label, arm in arms.items() if arm.apart_control),
    ]
    found: list[tuple[str, str, Versus]] = [
        (label, baseline, "baseline") for label in arms if label != baseline
    ]
    return found + [
        (tested, control, "control")
        for tested, control in controls
        if baseline not in (control, tested)
    ]


def _joint_pairs(
    several: Sequence[Several], arms: Mapping[str, ArmRecord], baseline: str
) -> list[tuple[str, str, Versus]]:
    """Networks as one with the baseline; those that meet with as many apart, which cost the same to train or to use."""
    by_label = {own.label: own for own in several}
    found: list[tuple[str, str, Versus]] = []
    for own in several:
        found.extend((own.name(way), baseline, "baseline") for way in WAYS)
        apart = by_label.get(arms[own.label].apart_control or "")
        if apart is not None:
            found.extend((own.label, apart.name(way), "control") for way in WAYS)
            found.append((own.name("ensemble"), apart.name("ensemble"), "control"))
    return found


def _neutral(arms: Mapping[str, ArmRecord], decides: str) -> list[tuple[str, str]]:
    return [
        (label, arm.neutral_control)
        for label, arm in arms.items()
        if arm.decides == decides and arm.neutral_control
    ]


def _arm(arm: ArmRecord, results: Results, own: Reached, *, share: float | None) -> ArmNumbers:
    label, cell, study = arm.label, arm.cell, results.study
    trials, baseline = results.arm(cell, label), results.arm(cell, study.baseline)
    resting = [len(own) for _, own in results.of_arm(cell, label, results.of(RestingRecord))]
    return ArmNumbers(
        **asdict(arm),
        accuracy=summary(
            own.accuracies,
            majority_share=share or 0.0,
            diverged=own.diverged,
            lower=own.lower,
        ),
        expected=len(study.seeds),
        diverged=len(own.diverged),
        renewed=mean_of(trial.renewed for trial in trials.values()),
        trials_renewed=sum(bool(trial.renewed) for trial in trials.values()),
        trials_dropped=len(results.of_arm(cell, label, results.drops)),
        resting=sum(resting),
        trials_resting=len(resting),
        trials_grafted=len(results.of_arm(cell, label, results.grafts)),
        restarts=sum(trial.restarts or 0 for trial in trials.values()),
        nonfinite=sum(trial.nonfinite or 0 for trial in trials.values()),
        seconds=mean_of(trial.seconds for trial in trials.values()),
        extra_time=None if label == study.baseline else _extra_time(trials, baseline),
        recipe_time=_recipe_time(trials.values()),
    )


def _extra_time(trials: Mapping[int, Trial], baseline: Mapping[int, Trial]) -> float | None:
    # Per optimizer step: a diverged trial stops early and would look fast.
    common = [
        seed
        for seed in trials.keys() & baseline.keys()
        if trials[seed].steps and baseline[seed].steps
    ]
    own = _seconds_per_step(trials[seed] for seed in common)
    plain = _seconds_per_step(baseline[seed] for seed in common)
    return own / plain - 1 if own is not None and plain else None


def _seconds_per_step(trials: Iterable[Trial]) -> float | None:
    seconds, steps = _totals(trials, "seconds", "steps")
    return seconds / steps if steps else None


def _recipe_time(trials: Iterable[Trial]) -> float | None:
    inside, seconds = _totals(trials, "recipe_seconds", "seconds")
    return inside / (seconds - inside) if seconds > inside else None


def _totals(trials: Iterable[Trial], *names: str) -> list[float]:
    """The sums of some numbers over the trials that have all of them."""
    rows = [[getattr(trial, name) for name in names] for trial in trials]
    known = [row for row in rows if None not in row]
    return [math.fsum(row[place] for row in known) for place in range(len(names))]
