"""`regrow report`: the tables, figures and page of a results folder, written again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regrow.cli.exits import BAD_USE, show, told_as
from regrow.cli.tables import fitted, terminal_width, wrapped
from regrow.errors import StoreError

if TYPE_CHECKING:
    from regrow.report.findings import StudySummary
    from regrow.report.sweep.panels import Panel
    from regrow.report.table import Table


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What regrow run --out wrote.")],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the tables (Markdown, JSON) and main figures into DIR too, for a repository or a paper.",
        ),
    ] = None,
) -> None:
    """Write report.html and the figures of a results folder, finished or not, and print its tables."""
    with told_as(BAD_USE):
        finish(folder, as_json=as_json)
        if export is not None:
            from regrow.report.export import export as export_tables

            written = export_tables(folder, export)
            if not as_json:
                show(f"Tables: {written[-1]} and {len(written) - 1} files beside it")


def finish(folder: Path, *, as_json: bool) -> None:
    """Write the report and print what it says."""
    from regrow.report.read import read_results
    from regrow.report.summary import summarise
    from regrow.report.write import summary_json, write_report

    try:
        written = write_report(folder)
    except StoreError:
        # Where it can be read at least, its numbers are shown; else this raises the same.
        if as_json:
            show(json.dumps(summary_json(folder), indent=2, allow_nan=False))
        else:
            results = read_results(folder)
            _tables(summarise(results), note=results.study.document.get("note"))
        raise
    if as_json:
        show(json.dumps(written.document, indent=2, allow_nan=False))
    else:
        _tables(written.found, note=written.results.study.document.get("note"))
        show(f"\nReport: {written.html}")


def _tables(found: StudySummary, *, note: object = None) -> None:
    """Print what a page of the report says in words and numbers."""
    from regrow.report.partner_tables import partner_tables
    from regrow.report.table import arms_table, paired_table
    from regrow.report.verdict import caution, standing, verdicts

    width = terminal_width()
    show(wrapped(standing(found), width))
    if note:
        show(wrapped(str(note), width))
    _panels(found.panels, width)
    for cell in found.cells:
        if cell.cell != "base":
            show(f"\n{cell.cell}")
        more = [table for _, _, table in partner_tables(cell)]
        for table in (arms_table(cell), paired_table(cell), *more):
            _show_table(table, width)
        for verdict in verdicts(cell):
            told = f"{verdict.arm}: {verdict.headline}. {verdict.text}"
            show(f"\n{wrapped(told, width)}")
    if caution(found):
        show(f"\n{wrapped(caution(found), width)}")


def _panels(panels: Sequence[Panel], width: int | None) -> None:
    """Print what a sweep found: of each panel the words and its best cells, not every cell."""
    from regrow.report.sweep.tables import best_table, panels_table
    from regrow.report.sweep.told import choice, findings, headline

    for panel in panels:
        told = " ".join([f"{panel.arm}: {headline(panel)}.", *findings(panel)])
        for paragraph in (panel.title, told, " ".join(choice(panel))):
            if paragraph:
                show(f"\n{wrapped(paragraph, width)}")
        _show_table(best_table(panel), width)
    if len(panels) > 1:
        _show_table(panels_table(panels), width)


def _show_table(table: Table, width: int | None) -> None:
    if table.rows:
        show(f"\n{fitted(table, width)}\n{wrapped(table.caption, width)}")
