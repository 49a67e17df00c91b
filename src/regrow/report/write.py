"""Writing a report: figures, numbers and page into the run's folder, each file whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regrow._whole import write_whole
from regrow.errors import StoreError
from regrow.report.drawing import Drawing
from regrow.report.findings import StudySummary
from regrow.report.html import page
from regrow.report.read import read_results
from regrow.report.summary import summarise, summary_document
from regrow.report.verdict import standing, verdicts
from regrow.study.results import Results


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a report consists of."""

    html: Path  # the page
    summary: Path  # the numbers as JSON
    figures: tuple[Path, ...]  # the files of the figures, each as SVG and as PNG
    drawings: tuple[Drawing, ...]  # the figures, in the same order
    results: Results  # what was read
    found: StudySummary  # its numbers
    document: Mapping[str, object]  # its numbers as plain values: what the summary holds


def write_report(run_dir: Path) -> Written:
    """Write the report of a run, finished or not, into its folder."""
    # Loads matplotlib, which numbers alone do without.
    from regrow.report.figures.order import drawings

    results = read_results(run_dir)
    found = summarise(results)
    document = _document(results, found)
    written: list[Path] = []
    drawn: list[tuple[Drawing, bytes]] = []
    narrow: dict[str, bytes] = {}
    try:
        (run_dir / "figures").mkdir(exist_ok=True)
        for drawing in drawings(results, found.panels):
            for kind, content in (files := rendered(drawing)).items():
                written.append(run_dir / "figures" / f"{drawing.name}.{kind}")
                write_whole(written[-1], content)
            drawn.append((drawing, files["svg"]))
            if drawing.narrow is not None:
                of_narrow = replace(drawing, size=drawing.narrow)
                narrow[drawing.name] = rendered(of_narrow, kinds=("svg",))["svg"]
        summary, html = run_dir / "summary.json", run_dir / "report.html"
        text = json.dumps(document, indent=2, allow_nan=False)
        write_whole(summary, f"{text}\n".encode())
        write_whole(html, page(results, found, drawn, narrow=narrow).encode())
    except OSError as error:
        raise StoreError(f"{run_dir}: the report cannot be written: {error}") from error
    return Written(
        html=html,
        summary=summary,
        figures=tuple(written),
        drawings=tuple(drawing for drawing, _ in drawn),
        results=results,
        found=found,
        document=document,
    )


def summary_json(run_dir: Path) -> dict[str, object]:
    """The numbers of a report for machines, as ``summary.json`` holds them; nothing is written."""
    results = read_results(run_dir)
    return _document(results, summarise(results))


def _document(results: Results, found: StudySummary) -> dict[str, object]:
    document = summary_document(results, found) | {"standing": standing(found)}
    if "cells" in document:
        document["verdicts"] = [
            {"cell": cell.cell, **vars(verdict)}
            for cell in found.cells
            for verdict in verdicts(cell)
        ]
    return document


def rendered(drawing: Drawing, *, kinds: Sequence[str] = ("svg", "png")) -> dict[str, bytes]:
    """Draw a figure in the house's style: its files by their kind."""
    from regrow.report.figures.style import house_style, saved, sheet

    with house_style():
        figure = sheet(drawing.size)
        drawing.draw(figure)
        # Laid out once, not anew for each kind of file. Where no engine is left, a file is one drawing and not two.
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
        figure.set_layout_engine(None)
        return {
            kind: saved(figure, kind=kind, title=drawing.title, caption=drawing.caption)
            for kind in kinds
        }
