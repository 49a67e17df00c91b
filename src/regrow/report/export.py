"""The numbers of a finished study as files for a repository or a paper: Markdown, JSON and the main figures."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from regrow._whole import write_whole
from regrow.errors import StoreError
from regrow.report.diagnostic_tables import diagnostic_tables
from regrow.report.drawing import Drawing, file_name
from regrow.report.effort import effort
from regrow.report.findings import StudySummary
from regrow.report.partner_tables import partner_tables
from regrow.report.sweep.tables import cells_table, panels_table
from regrow.report.table import arms_table, as_markdown, paired_table
from regrow.report.task_tables import rates_table
from regrow.report.template import filled
from regrow.report.write import write_report
from regrow.study.results import Results

_VERSIONS: Final = ("regrow", "torch", "python", "cores", "started_at")


def export(run_dir: Path, into: Path) -> tuple[Path, ...]:
    """Write tables, numbers and main figures of a study into a folder, small enough for a repository.

    Paths in the recorded command are cut to their last part: a table is to be read elsewhere.
    """
    report = write_report(run_dir)
    results, found = report.results, report.found
    figures = [drawing for drawing in report.drawings if drawing.kept]
    written: list[Path] = []

    def put(name: str, text: str) -> None:
        write_whole(into / name, f"{text}\n".encode())
        written.append(into / name)

    try:
        into.mkdir(parents=True, exist_ok=True)
        for panel in found.panels:
            suffix = "" if panel.key == "base" else f"-{file_name(panel.key)}"
            put(f"sweep{suffix}.md", as_markdown(cells_table(panel)))
        if len(found.panels) > 1:
            put("panels.md", as_markdown(panels_table(found.panels)))
        if (own := rates_table(results)).rows:
            put("rates.md", as_markdown(own))
        for cell in found.cells:
            suffix = "" if cell.cell == "base" else f"-{file_name(cell.cell)}"
            put(f"arms{suffix}.md", as_markdown(arms_table(cell)))
            put(f"paired{suffix}.md", as_markdown(paired_table(cell)))
            for name, _, table in (*partner_tables(cell), *diagnostic_tables(results, cell.cell)):
                put(f"{name}{suffix}.md", as_markdown(table))
        for picture in (f"{drawing.name}.png" for drawing in figures):
            source = run_dir / "figures" / picture
            written.append(Path(shutil.copyfile(source, into / picture)))
        document = {**report.document, "environment": _portable(results.environment)}
        put("summary.json", json.dumps(document, indent=1, allow_nan=False))
        put("README.md", _readme(results, found, figures))
    except OSError as error:
        raise StoreError(f"{into}: the tables cannot be written: {error}") from error
    return tuple(written)


def _readme(results: Results, found: StudySummary, figures: Sequence[Drawing]) -> str:
    ran, spent = _portable(results.environment), effort(results)
    command = ran.pop("command", "")
    told = [f"{key} {value}" for key, value in ran.items()]
    return filled(
        "readme.md",
        results=results,
        found=found,
        figures=figures,
        ran=[*told, spent.told] if spent else told,
        command=command,
        document=json.dumps(results.study.document, indent=1, ensure_ascii=False),
    )


def _portable(environment: Mapping[str, object]) -> dict[str, object]:
    """Versions, cores and command, absolute paths cut to their last part; no machine's folders or kernel."""
    kept = {key: environment[key] for key in _VERSIONS if key in environment}
    if "command" in environment:
        words = shlex.split(str(environment["command"]))
        plain = [Path(word).name if word.startswith("/") else word for word in words]
        kept["command"] = shlex.join(plain)
    return kept
