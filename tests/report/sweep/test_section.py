"""Page, numbers and exported files of a sweep."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from regrow.cli.report import _tables
from regrow.report.export import export
from regrow.report.figures.order import drawings
from regrow.report.html import page
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.sweep.panels import panels
from regrow.report.sweep.tables import best_table, cells_table, panels_table
from regrow.report.table import as_markdown
from regrow.report.write import summary_json, write_report
from report.drawn import blank
from report.sweep_study import ARMS, CRASHED, GRID, MISSING, TAU, P, rescuing, write_sweep

LARGE = {"data.region": ["East", "West"], TAU: GRID[TAU], P: [0.1, 0.2, 0.5, 0.6, 0.8, 0.9, 1.0]}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two panels of 14 cells, eight seeds."""
    return write_sweep(tmp_path_factory.mktemp("sweep") / "large", grid=LARGE, seeds=range(8))


def _page(folder: Path) -> str:
    """The page alone, without its figures."""
    results = read_results(folder)
    return page(results, summarise(results), [])


@pytest.fixture(scope="module")
def exported(large: Path) -> tuple[Path, ...]:
    """What is exported of it, all in one folder; the report is written with it."""
    with blank():
        return export(large, large / "into")


@pytest.mark.usefixtures("exported")
def test_a_large_sweep_has_a_section_a_panel_and_none_a_cell(large: Path) -> None:
    assert sorted(path.name for path in (large / "figures").glob("*.png")) == [
        f"data.region={region}-{kind}.png"
        for region in ("East", "West")
        for kind in ("map", "pairs")
    ]
    text = (large / "report.html").read_text()
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", text)
    assert titles[:3] == ["All panels", "data.region=East", "data.region=West"]
    assert titles[3:] == ["How it was measured", "Settings and versions"]
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    assert text.count("<img ") == 4
    assert all("n = 8 pairs" in alt for alt in re.findall(r'alt="([^"]*)"', text)[::2])
    assert "28 cells \N{MULTIPLICATION SIGN} 2 arms \N{MULTIPLICATION SIGN} 8 seeds" in text
    assert "This page makes 28 comparisons." in text
    assert "draw the sorted seeds alone" not in text


def test_a_small_sweep_keeps_its_cells_behind_the_panel(tmp_path: Path) -> None:
    results = read_results(write_sweep(tmp_path))
    found = summarise(results)
    names = [drawing.name for drawing in drawings(results)]
    assert names[:3] == ["base-map", "base-pairs", "gains"]
    assert sum(name.endswith("-sorted") for name in names) == 6
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", page(results, found, []))
    assert titles[:2] == ["randomout over threshold and active_fraction", "All cells"]
    assert len(titles) == 2 + 6 + 2
    document = summary_json(tmp_path)
    assert len(document["cells"]) == len(document["verdicts"]) == 6  # type: ignore[arg-type]
    assert len(document["sweep"]["panels"][0]["cells"]) == 6  # type: ignore[index]


@pytest.mark.usefixtures("exported")
def test_the_document_has_every_number_of_the_panels(large: Path) -> None:
    document = json.loads((large / "summary.json").read_text())
    assert not {"cells", "verdicts"} & document.keys()
    assert document["trials"] == {"expected": 448, "ended": 448, "missing": 0}
    for found, panel in zip(document["sweep"]["panels"], panels(read_results(large)), strict=True):
        assert (found["panel"], found["arm"], found["versus"]) == (panel.name, "randomout", "none")
        assert found["x"]["values"] == list(panel.x.values)
        for entry, cell in zip(found["cells"], panel.cells, strict=True):
            assert entry["numbers"]["mean_difference"] == cell.gain
            assert (entry["x"], entry["y"], entry["outcome"]) == (
                cell.x,
                cell.y,
                cell.comparison.outcome,
            )
        assert found["chosen"][0]["cell"] == panel.chosen[0].cell.cell
        assert found["chosen"][0]["after"]["numbers"]["n"] == 4


def test_tables_hold_every_cell_the_best_and_every_panel(large: Path) -> None:
    found = panels(read_results(large))
    rows = cells_table(found[0]).rows
    assert [row[:2] for row in rows] == [(str(c.y), str(c.x)) for c in found[0].cells]
    assert [row[3:5] for row in rows] == [
        (str(c.numbers.failed_b), str(c.numbers.failed_a)) for c in found[0].cells
    ]
    best = best_table(found[0]).rows
    assert len(best) == 5
    assert best[0][:2] == ("1e-08", "1.0")
    assert [row[0] for row in panels_table(found).rows] == ["data.region=East", "data.region=West"]


def test_the_export_has_map_words_and_table(large: Path, exported: tuple[Path, ...]) -> None:
    names, [into] = {path.name for path in exported}, {path.parent for path in exported}
    assert names == {
        "README.md",
        "summary.json",
        "panels.md",
        *(f"sweep-data.region={region}.md" for region in ("East", "West")),
        *(f"data.region={r}-{kind}.png" for r in ("East", "West") for kind in ("map", "pairs")),
    }
    text = (into / "README.md").read_text()
    for panel in panels(read_results(large)):
        table = as_markdown(cells_table(panel))
        assert (into / f"sweep-{panel.name}.md").read_text() == f"{table}\n"
        assert table in text
        assert text.count(f"]({panel.name}-map.png)") == 1
        assert text.count(f"]({panel.name}-pairs.png)") == 1
    assert "in the chosen cell, on seeds that did not choose it.**" in text


def test_the_terminal_shows_best_cells_and_panels_alone(
    large: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = summarise(read_results(large))
    monkeypatch.setenv("COLUMNS", "80")
    _tables(found)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    plain = " ".join(text.split())
    assert plain.count("with the largest mean gain of randomout over none") == 2
    assert "Wilcoxon" not in plain
    monkeypatch.setenv("COLUMNS", "200")
    _tables(found)
    wide = capsys.readouterr().out.splitlines()
    rows = [line.split()[:2] for line in wide if line.lstrip().startswith(("0.0001 ", "1e-08 "))]
    assert rows == [
        [str(value) for value in row[:2]]
        for panel in found.panels
        for row in best_table(panel).rows
    ]


def test_cells_that_never_ran_are_rows_without_numbers(tmp_path: Path) -> None:
    def reached(point: Mapping[str, object], arm: str, seed: int) -> float | str:
        return MISSING if point[P] == 1.0 else rescuing(point, arm, seed)

    folder = write_sweep(tmp_path, grid=LARGE, reached=reached, seeds=range(4))
    text = _page(folder)
    assert text.count("no pair yet") == 4
    assert "Incomplete: 32 of 224 trials are missing." in text


def test_a_control_has_a_panel_of_its_own(tmp_path: Path) -> None:
    arms = {**ARMS, "random": {"recipe": "random", "like": "randomout"}}
    folder = write_sweep(
        tmp_path,
        grid={key: LARGE[key] for key in (TAU, P)},
        arms=arms,
        reached=lambda point, arm, seed: rescuing(
            point, arm if arm == "randomout" else "none", seed
        ),
    )
    with blank():
        written = write_report(folder)
    assert [path.stem for path in written.figures if path.suffix == ".png"] == [
        "base-map",
        "base-pairs",
        "base-against-random-map",
    ]
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", written.html.read_text())
    assert "randomout over threshold and active_fraction, against random" in titles


def test_thousands_of_crashes_do_not_fill_the_page(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, grid=LARGE, reached=lambda *_: CRASHED, seeds=range(2))
    text = _page(folder)
    assert text.count("RuntimeError: out of memory") == 30
    assert "82 more are in results.sqlite." in text
