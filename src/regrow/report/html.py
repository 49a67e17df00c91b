"""One self-contained page: what was asked, what came out, how it was measured, and how to repeat it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Final, cast

from regrow.report import wording
from regrow.report.blocks import (
    Drawn,
    figures_at,
    folded,
    section,
    settings_block,
    settings_of,
    table_block,
    titled,
    verdict_block,
)
from regrow.report.diagnostic_tables import diagnostic_tables
from regrow.report.drawing import MANY_CELLS
from regrow.report.effort import effort
from regrow.report.findings import CellSummary, StudySummary
from regrow.report.markup import Markup, element, joined
from regrow.report.partner_tables import partner_tables
from regrow.report.sweep import section as sweep
from regrow.report.table import activity_table, arms_table, overview_table, paired_table, table_of
from regrow.report.verdict import caution, standing, verdicts
from regrow.study.results import Results
from regrow.study.statistics import FEWEST_PAIRS

_SHOWN_SETTINGS: Final = ("data", "model", "train", "arms", "grid", "seeds")

_LONG: Final = 30
"""Rows of a table that is folded up at first."""


def page(results: Results, found: StudySummary, drawn: Drawn) -> str:
    """Write the report as one HTML document.

    It loads nothing, runs nothing, and reads well on a telephone, in the dark and on paper.
    """
    style = files("regrow.report").joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element(
            "meta",
            attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"},
        ),
        element("title", f"{found.name}: regrow report"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element(
            "div",
            _header(results, found),
            element(
                "main",
                *sweep.overview(found.panels),
                *(sweep.section(panel, place, drawn) for place, panel in enumerate(found.panels)),
                _overview(found, drawn),
                *(_cell(number, results, found, drawn) for number in range(len(found.cells))),
                _crashes(results, found),
                _method(found),
                _settings(results),
            ),
            _footer(results, found),
            class_="page",
        ),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _header(results: Results, found: StudySummary) -> Markup:
    study = results.study
    scope = " \N{MULTIPLICATION SIGN} ".join(
        [
            *([wording.count(len(results.cells), "cell")] if study.grid else []),
            wording.count(len(study.arms), "arm"),
            wording.count(len(study.seeds), "seed"),
        ]
    )
    about = [
        str(cast("dict[str, object]", part).get("name", ""))
        for key in ("data", "model")
        if isinstance(part := study.document.get(key), dict)
    ]
    links = [("All panels", "panels")] if len(found.panels) > 1 else []
    links += [(sweep.title(panel), f"panel-{index}") for index, panel in enumerate(found.panels)]
    links += [("All cells", "cells")] if len(found.cells) > 1 else []
    links += [(cell.cell, f"cell-{index}") for index, cell in enumerate(found.cells)]
    links += [("How it was measured", "method"), ("Settings and versions", "settings")]
    return element(
        "header",
        element("p", " · ".join([*filter(None, about), scope]), class_="eyebrow"),
        element("h1", found.name),
        element("p", standing(found), class_="standing open" if found.missing else "standing"),
        element(
            "nav",
            element(
                "ul",
                *(
                    element("li", element("a", _cell_title(name, found), href=f"#{anchor}"))
                    for name, anchor in links
                ),
            ),
            attributes={"aria-label": "Contents"},
        ),
    )


def _overview(found: StudySummary, drawn: Drawn) -> str:
    if len(found.cells) < 2:
        return ""
    table = table_block(overview_table(found), title="Difference from the baseline in every cell")
    return section("All cells", table, *figures_at(drawn, "overview"), anchor="cells")


def _cell(number: int, results: Results, found: StudySummary, drawn: Drawn) -> Markup:
    cell = found.cells[number]
    first = figures_at(drawn, "body", cell.cell)
    more = figures_at(drawn, "more", cell.cell)
    alike = f"The same of the other arms ({wording.count(len(more), 'figure')})"
    return section(
        _cell_title(cell.cell, found),
        _missing(cell),
        *(verdict_block(v.arm, v.headline, v.text, outcome=v.outcome) for v in verdicts(cell)),
        *figures_at(drawn, "cell", cell.cell),
        titled("Arms", arms_table(cell), label="What each arm reached"),
        titled("Pair by pair", paired_table(cell), label="Differences"),
        *(titled(title, table, most=_LONG) for _, title, table in partner_tables(cell)),
        titled("Renewals and time", activity_table(cell), label="What each arm did"),
        *(
            titled(title, table, most=_LONG)
            for _, title, table in diagnostic_tables(results, cell.cell)
        ),
        element("div", *first, class_="pair") if first else "",
        folded(alike, element("div", *more, class_="pair")) if more else "",
        anchor=f"cell-{number}",
    )


def _cell_title(name: str, found: StudySummary) -> str:
    return "Results" if name == "base" and len(found.cells) == 1 else name


def _missing(cell: CellSummary) -> str:
    if cell.expected == cell.ended:
        return ""
    arms = ", ".join(f"{arm.label} {arm.missing}" for arm in cell.arms if arm.missing)
    return element(
        "p",
        f"{cell.expected - cell.ended} of {wording.count(cell.expected, 'trial')} of this cell are "
        f"missing: {arms}.",
        class_="standing open",
    )


def _crashes(results: Results, found: StudySummary) -> str:
    crashed = [trial for trial in results.trials if trial.status == "crashed"]
    if not crashed:
        return ""
    # A large sweep may have thousands, most of them alike.
    large = bool(found.panels) and not found.cells
    listed = sorted(crashed, key=lambda trial: trial.trial)[: _LONG if large else None]
    left = len(crashed) - len(listed)
    more = f" {left} more are in results.sqlite." if left else ""
    table = table_of(
        listed,
        {
            "Trial": lambda trial: trial.trial,
            "Epochs": lambda trial: str(trial.epochs or 0),
            "Error": lambda trial: trial.error or wording.NOTHING,
        },
        caption=f"Trials that stopped with an error: counted as failed, in no mean.{more}",
        words={"Trial", "Error"},
    )
    block = table_block(table, title="Crashed trials")
    return section("Crashed trials", block, anchor="crashes")


def _method(found: StudySummary) -> Markup:
    several = any(arm.networks > 1 for cell in found.cells for arm in cell.arms)
    first = "; of the networks of a trial that has several, the first does" if several else ""
    words = [
        "Arms are paired: trials of one seed start from the same initial weights and see the same "
        f"batches in the same order{first}. Accuracy is that of the test set after the last epoch; no epoch "
        "is chosen by its test accuracy. A seed has failed if its accuracy is at most two points "
        "above always naming the commonest class, or if its loss or weights became non-finite, or "
        "if it crashed.",
        "A verdict is a gain or harm only when the 95 % bootstrap interval of the mean paired "
        f"difference excludes 0, and never below {FEWEST_PAIRS} pairs; with few pairs the interval "
        "tends to be too narrow. Extra time is wall time per optimizer step relative to the "
        "baseline, on a machine that may have had other work: a hint, not a benchmark.",
        sweep.method(found.panels),
        caution(found),
    ]
    paragraphs = (element("p", text) for text in words if text)
    return section("How it was measured", *paragraphs, anchor="method")


def _settings(results: Results) -> Markup:
    document = results.study.document
    shown = {key: document[key] for key in _SHOWN_SETTINGS if key in document}
    rest = {key: value for key, value in document.items() if key not in shown and key != "name"}
    command = results.environment.get("command")
    full = json.dumps(document, indent=2, ensure_ascii=False)
    return section(
        "Settings and versions",
        settings_block(settings_of(shown | rest), title="Settings"),
        element("h3", "Where it ran"),
        settings_block(settings_of(results.environment), title="Versions and machine"),
        element("h3", "How to repeat it"),
        element("pre", element("code", str(command))) if command else "",
        element(
            "p",
            "The same command on the same folder goes on where it stopped; on a new folder it "
            "starts again. These are the study's full settings:",
        ),
        folded("Study as JSON", element("pre", element("code", full))),
        anchor="settings",
    )


def _footer(results: Results, found: StudySummary) -> Markup:
    version = results.environment.get("regrow")
    name = f"regrow {version}" if version else "regrow"
    many = (
        f" Studies of more than {MANY_CELLS} cells draw the sorted seeds alone for each cell."
        if len(found.cells) > MANY_CELLS
        else ""
    )
    spent = effort(results)
    cost = "" if spent is None else f" Cost: {spent.told}."
    return element(
        "footer",
        joined(
            f"Written by {name} from results.sqlite (fingerprint {results.fingerprint[:16]}). The "
            f"figures lie beside this page as PNG and SVG, the numbers as summary.json.{many}{cost}"
        ),
    )
