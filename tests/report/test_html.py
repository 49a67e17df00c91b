"""The page: whole, self-contained, honest about what is missing, and safe with any label."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regrow.report import wording
from regrow.report.diagnostic_tables import diagnostic_tables
from regrow.report.drawing import Drawing
from regrow.report.figures.order import drawings
from regrow.report.html import page
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.table import activity_table, arms_table, paired_table
from regrow.report.verdict import verdicts
from report.stored import relabelled

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]

_VOID = {"img", "meta", "link", "br", "hr", "input", "source"}


class _Reader(HTMLParser):
    """Collects what a page says, and checks that it is well formed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)
        if any(tag in {"td", "th"} for tag in self.open):
            self.rows[-1][-1] += data


def _page(folder: Path, *, svg: bytes = b"<svg/>") -> tuple[str, _Reader]:
    results = read_results(folder)
    text = page(results, summarise(results), [(drawing, svg) for drawing in drawings(results)])
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return text, reader


def _said(reader: _Reader) -> str:
    return " ".join(" ".join(reader.words).replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.fixture(params=["rescued", "partial"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def test_every_number_of_the_tables_and_every_verdict_is_on_the_page(folder: Path) -> None:
    _, reader = _page(folder)
    rows = [tuple(row) for row in reader.rows]
    said = _said(reader)
    for cell in summarise(read_results(folder)).cells:
        for table in (arms_table(cell), paired_table(cell), activity_table(cell)):
            assert table.columns in rows
            for row in table.rows:
                assert row in rows
        for verdict in verdicts(cell):
            assert verdict.text in said
            assert verdict.headline in said


def test_nothing_is_loaded_and_one_script_runs(folder: Path) -> None:
    text, reader = _page(folder)
    assert [attributes for tag, attributes in reader.tags if tag == "script"] == [{}]
    for tag, attributes in reader.tags:
        assert tag not in {"link", "iframe", "object", "embed"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,"))
    assert "url(" not in text
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_images_tables_and_boxes_can_be_read_without_seeing(folder: Path) -> None:
    _, reader = _page(folder)
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert images
    assert all(len(image["alt"]) > 40 for image in images)
    scopes = [attributes.get("scope") for tag, attributes in reader.tags if tag == "th"]
    assert scopes
    assert set(scopes) == {"col", "row"}
    boxes = [a for _, a in reader.tags if "scroll" in a.get("class", "").split()]
    assert boxes
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    html = next(attributes for tag, attributes in reader.tags if tag == "html")
    assert html["lang"] == "en"


def test_links_lead_somewhere_and_ids_are_unlike(folder: Path) -> None:
    _, reader = _page(folder)
    names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(names) == len(set(names))
    targets = [a["href"][1:] for tag, a in reader.tags if tag == "a"]
    assert targets
    assert set(targets) <= set(names)


def test_labels_errors_and_names_cannot_become_markup(new_run: Callable[..., RunFolder]) -> None:
    evil = '<script>alert("x")</script>'
    run = new_run(
        arms={"none": {"recipe": "none"}, "good": {"recipe": "randomout"}},
        study_name=f"</title>{evil}",
        seeds=range(2),
    )
    run.add("none", 0, 0.9)
    run.add("good", 0, 0.9, renewals=[(1, evil, 1)])
    run.add("good", 1, None, status="crashed")
    folder = relabelled(run.close(), arms={"good": evil}, cells={"base": f"x={evil}"})
    text, reader = _page(folder)
    assert text.lower().count("<script") == 1
    assert evil in "".join(reader.words)
    assert "RuntimeError: out of <memory>" in "".join(reader.words)


def test_a_studys_note_stands_at_the_head_and_nowhere_else(rescued: Path) -> None:
    results = read_results(rescued)
    noted = replace(
        results.study, document={**results.study.document, "note": "Picked & <chosen>."}
    )
    text = page(replace(results, study=noted), summarise(results), [])
    head, _, rest = text.partition("<nav")
    assert "Picked &amp; &lt;chosen&gt;." in head
    assert rest.count("chosen&gt;") == 1  # the study as JSON
    assert 'class="note"' not in page(results, summarise(results), [])


def test_arms_lead_to_their_figures_and_cells_to_their_sections(
    rescued: Path, partial: Path
) -> None:
    text, _ = _page(rescued)
    assert re.findall(r'<th scope="row" class="word"><a href="([^"]+)">(.*?)</a>', text) == [
        ("#figure-base-renewals-randomout", "randomout"),
        ("#figure-base-renewals-randomout", "randomout"),
    ]
    own = ("Renewals of randomout by layer", "Renewals of randomout by seed")
    named = "Figures of one arm: randomout: " + ", ".join(own)
    assert f"{named}." in re.sub(r"</?a[^>]*>", "", text)
    grid, _ = _page(partial)
    places = {cell: f"#cell-{place}" for place, cell in enumerate(read_results(partial).cells)}
    row = '<th scope="row" class="word"><a href="([^"]+)">(train[^<]+)</a>'
    assert {(cell, place) for place, cell in re.findall(row, grid)} == set(places.items())


def test_a_partial_study_says_what_is_missing(partial: Path) -> None:
    said = _said(_page(partial)[1])
    assert "Incomplete: 36 of 60 trials are missing." in said
    assert "9 of 30 trials of this cell are missing: random 9." in said
    assert "27 of 30 trials of this cell are missing: none 7, randomout 10, random 10." in said


def test_an_empty_study_is_a_page_too(new_run: Callable[..., RunFolder]) -> None:
    _, reader = _page(new_run().close())
    assert "Incomplete: 72 of 72 trials are missing." in _said(reader)
    assert not [tag for tag, _ in reader.tags if tag == "img"]


def test_settings_versions_and_the_command_are_there(rescued: Path) -> None:
    _, reader = _page(rescued)
    rows = [tuple(row) for row in reader.rows]
    assert ("train.lr", "0.03") in rows
    assert ("arms.randomout.settings.threshold", "1e-08") in rows
    assert ("seeds", "0 to 23") in rows
    assert ("torch", "2.13.0") in rows
    assert "regrow run study.toml --seeds 24" in _said(reader)


def test_every_figure_has_its_caption_with_n(rescued: Path) -> None:
    results = read_results(rescued)
    found: tuple[Drawing, ...] = drawings(results)
    said = _said(_page(rescued)[1])
    for drawing in found:
        assert re.search(r"n = \d+", drawing.caption), drawing.name
        assert drawing.caption in said


def test_narrow_screens_and_dark_rooms_are_thought_of(rescued: Path) -> None:
    text, reader = _page(rescued)
    assert "prefers-color-scheme: dark" in text
    metas = [attributes for tag, attributes in reader.tags if tag == "meta"]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert wording.NOTHING in text


def test_diagnostics_are_on_the_page_where_there_are_any(cycled: Path, rescued: Path) -> None:
    text, reader = _page(cycled)
    results = read_results(cycled)
    tables = diagnostic_tables(results, "base")
    assert len(tables) == 3
    for _, title, table in tables:
        assert title in reader.words
        for row in (table.columns, *table.rows):
            assert list(row) in reader.rows
    found = [drawing.title for drawing in drawings(results)]
    assert found[-2:] == [
        "Overlap of the filters, layer by layer",
        "Filters of repr in and out of the network",
    ]
    assert all(title in text for title in found)
    assert "<summary>" not in text.split("<h3>Which layers")[1].split("<h2")[0]
    _, plain = _page(rescued)
    assert not {title for _, title, _ in tables} & set(plain.words)


def test_long_tables_of_a_deep_network_are_folded_up(new_cycled: Callable[..., Path]) -> None:
    folder = new_cycled({f"block{index}.conv": 8 for index in range(40)})
    text, _ = _page(folder)
    assert "<h3>Which layers were picked</h3><details><summary>41 rows</summary>" in text
    assert "<h3>Overlap at the end</h3><details><summary>40 rows</summary>" in text
