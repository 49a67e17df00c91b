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
from regrow.report import wording
from regrow.report.diagnostic_tables import diagnostic_tables
from regrow.report.drawing import Drawing, file_name
from regrow.report.effort import effort
from regrow.report.findings import CellSummary, StudySummary
from regrow.report.partner_tables import partner_tables
from regrow.report.sweep.panel import Panel
from regrow.report.sweep.tables import cells_table, panels_table
from regrow.report.sweep.told import choice, findings, headline
from regrow.report.table import Table, arms_table, as_markdown, paired_table
from regrow.report.verdict import caution, standing, verdicts
from regrow.report.write import write_report
from regrow.study.results import Results

_VERSIONS: Final = ("regrow", "torch", "python", "cores", "started_at")


def export(run_dir: Path, into: Path) -> tuple[Path, ...]:
    """Write what is worth keeping of a study into a folder, small enough for a repository.

    Paths in the recorded command are cut to their last part: a table is to be read elsewhere.

    Args:
        into: The folder to write to, made if it is missing: ``README.md`` with tables, verdicts, settings and
            versions, ``arms*.md``, ``paired*.md``, those of several networks and those of the diagnostics with one
            table each, ``summary.json``, and figures as PNG. Of a sweep ``sweep*.md`` with the cells of each panel, and
            ``panels.md`` where there are several.
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
            put(f"{_file(panel)}.md", as_markdown(cells_table(panel)))
        if len(found.panels) > 1:
            put("panels.md", as_markdown(panels_table(found.panels)))
        for cell in found.cells:
            suffix = "" if cell.cell == "base" else f"-{file_name(cell.cell)}"
            put(f"arms{suffix}.md", as_markdown(arms_table(cell)))
            put(f"paired{suffix}.md", as_markdown(paired_table(cell)))
            for name, _, table in _more(cell, results):
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
    parts = [f"# {results.study.name}", standing(found)]
    if len(found.panels) > 1:
        every = panels_table(found.panels)
        parts += [as_markdown(every), every.caption]
    parts += [part for panel in found.panels for part in _panel(panel, figures)]
    parts += [part for cell in found.cells for part in _cell(cell, results)]
    parts += [text for text in (caution(found),) if text]
    parts += [_picture(figure) for figure in figures if figure.place not in {"panel", "choice"}]
    ran, spent = _portable(results.environment), effort(results)
    command = ran.pop("command", "")
    told = [f"{key} {value}" for key, value in ran.items()]
    told += [spent.told] if spent else []
    parts += ["## How it was made", f"{'; '.join(told)}; fingerprint {results.fingerprint[:16]}."]
    if command:
        parts.append(f"    {command}")
    document = json.dumps(results.study.document, indent=1, ensure_ascii=False)
    parts.append(f"<details><summary>Settings</summary>\n\n```json\n{document}\n```\n\n</details>")
    return "\n\n".join(parts)


def _panel(panel: Panel, figures: Sequence[Drawing]) -> list[str]:
    """A panel of a sweep: its words, its figures where they belong, and the numbers of its cells folded up."""
    table = cells_table(panel)
    own = [figure for figure in figures if figure.of == panel.key]
    rows = wording.count(len(table.rows), "cell")
    parts = [
        f"## {panel.title}",
        f"**{panel.arm}: {headline(panel)}.** {' '.join(findings(panel))}",
        *(_picture(figure) for figure in own if figure.place == "panel"),
        " ".join(choice(panel)),
        *(_picture(figure) for figure in own if figure.place == "choice"),
        f"<details><summary>{rows}</summary>\n\n{as_markdown(table)}\n\n{table.caption}\n\n</details>",
    ]
    return [part for part in parts if part]


def _picture(figure: Drawing) -> str:
    return f"![{figure.name}]({figure.name}.png)"


def _file(panel: Panel) -> str:
    return "sweep" if panel.key == "base" else f"sweep-{file_name(panel.key)}"


def _cell(cell: CellSummary, results: Results) -> list[str]:
    parts = [] if cell.cell == "base" else [f"## {cell.cell}"]
    for table in (arms_table(cell), paired_table(cell)):
        if table.rows:
            parts += [as_markdown(table), table.caption]
    parts += [
        f"**{verdict.arm}: {verdict.headline}.** {verdict.text}" for verdict in verdicts(cell)
    ]
    for _, title, table in _more(cell, results):
        parts += [f"### {title}", as_markdown(table), table.caption]
    return parts


def _more(cell: CellSummary, results: Results) -> tuple[tuple[str, str, Table], ...]:
    """The tables that are there for some studies alone."""
    return (*partner_tables(cell), *diagnostic_tables(results, cell.cell))


def _portable(environment: Mapping[str, object]) -> dict[str, object]:
    """Versions, cores and command, absolute paths cut to their last part; no machine's folders or kernel."""
    kept = {key: environment[key] for key in _VERSIONS if key in environment}
    if "command" in environment:
        words = shlex.split(str(environment["command"]))
        plain = [Path(word).name if word.startswith("/") else word for word in words]
        kept["command"] = shlex.join(plain)
    return kept
