"""Both pages in a browser: nothing is cut off, tables sort and are searched, files hold what is shown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from browsed import ABSENT, BROWSER, Browser, browsing
from regrow.health import Health
from regrow.report.figures.order import drawings
from regrow.report.health_page import write_health_page
from regrow.report.html import page
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.table import Table, arms_table, paired_table
from report.test_health_page import HEALTH, LAYERS

pytestmark = pytest.mark.skipif(BROWSER is None, reason=ABSENT)

SPACE = "http://www.w3.org/2000/svg"


def _svg(width: int, height: int, colour: str) -> bytes:
    return (
        f'<svg xmlns="{SPACE}" width="{width}" height="{height}">'
        f'<rect width="{width}" height="{height}" fill="{colour}"/></svg>'
    ).encode()


WIDE, NARROW = _svg(96, 48, "#ff0000"), _svg(48, 48, "#0000ff")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def pages(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two studies with a picture of one colour for each figure, and a network."""
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in ("rescued", "partial", "health")}
    for name in ("rescued", "partial"):
        results = read_results(made[name])
        figures = drawings(results)
        narrow = {one.name: NARROW for one in figures if one.narrow}
        text = page(results, summarise(results), [(one, WIDE) for one in figures], narrow=narrow)
        found[name].write_text(text, encoding="utf-8")
    write_health_page(HEALTH, found["health"], title="net")
    return found


@pytest.fixture(scope="module")
def tables(made: dict[str, Path]) -> dict[str, Table]:
    """Of the whole study, by the names of their files."""
    (cell,) = summarise(read_results(made["rescued"])).cells
    return {"base-arms": arms_table(cell), "base-paired": paired_table(cell)}


def _figure(name: str) -> str:
    return f"document.querySelector('figure[data-name=\"{name}\"]')"


def _rows(browser: Browser, name: str) -> list[str]:
    """What names the rows of a table that are shown."""
    return browser.run(
        f"[...{_figure(name)}.querySelector('tbody').rows].filter((row) => row.offsetHeight)"
        ".map((row) => row.cells[0].textContent)"
    )


def _button(name: str, text: str) -> str:
    return f"[...{_figure(name)}.querySelectorAll('button')].find((one) => one.textContent === {json.dumps(text)})"


def _read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def _parsed(svg: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 # the page's own


def _plain(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Cells as a program reads them."""
    found = [[cell.replace("\N{MINUS SIGN}", "-") for cell in row] for row in rows]
    return [["" if cell == "\N{EN DASH}" else cell for cell in row] for row in found]


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["rescued", "partial", "health"])
def test_nothing_is_cut_off(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.open(pages[name], width=width)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.run("document.documentElement.scrollWidth") <= width
    outside = browser.run(
        "[...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll *, pre *') &&"
        " one.getBoundingClientRect().right > innerWidth + 0.5).map((one) => one.outerHTML.slice(0, 200))"
    )
    assert outside == []
    # What is wider than its box is moved in it.
    boxes = browser.run(
        "[...document.querySelectorAll('.scroll')].map((one) => [getComputedStyle(one).overflowX, one.tabIndex])"
    )
    assert boxes
    assert all(box == ["auto", 0] for box in boxes)


def test_the_interval_is_seen_on_a_telephone(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["rescued"], width=400)
    ends = browser.run(
        f"[...{_figure('base-paired')}.querySelectorAll('tr')].map((row) => row.cells[3].getBoundingClientRect().right)"
    )
    assert len(ends) > 1
    assert max(ends) <= 400


@pytest.mark.parametrize(("width", "expected"), [(1280, 96), (400, 48)])
def test_a_narrow_screen_has_a_figure_of_its_own(
    browser: Browser, pages: dict[str, Path], width: int, expected: int
) -> None:
    browser.open(pages["rescued"], width=width)
    assert browser.run(f"{_figure('base-sorted')}.querySelector('img').naturalWidth") == expected


@pytest.mark.parametrize("key", ["Enter", " ", None])
def test_a_click_or_a_key_on_a_heading_sorts(
    browser: Browser,
    pages: dict[str, Path],
    tables: dict[str, Table],
    key: str | None,
) -> None:
    browser.open(pages["rescued"], width=1280)
    arms = tables["base-arms"]
    means = {row[0]: float(row[arms.columns.index("Mean (%)")]) for row in arms.rows}
    up = sorted(means, key=lambda arm: means[arm])
    assert _rows(browser, "base-arms") == list(means)
    head = _button("base-arms", "Mean (%)")

    def act() -> None:
        if key is None:
            browser.run(f"{head}.click()")
        else:
            browser.run(f"{head}.focus()")
            browser.press(key)

    act()
    assert _rows(browser, "base-arms") == up
    assert browser.run(f"{head}.parentElement.ariaSort") == "ascending"
    act()
    assert _rows(browser, "base-arms") == up[::-1]
    assert browser.run(f"{head}.parentElement.ariaSort") == "descending"
    browser.run(f"{_button('base-arms', 'Arm')}.click()")
    assert _rows(browser, "base-arms") == sorted(means)
    assert browser.run(f"{head}.parentElement.ariaSort") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["+1.0", "\N{EN DASH}", "\N{MINUS SIGN}2.5", "0.0"], [2, 3, 0, 1]),
        (["\N{MINUS SIGN}1.0 to +2.0", "\N{MINUS SIGN}10.0 to +2.0", "+0.1 to +0.2"], [1, 0, 2]),
        (["0.012", "< 0.001", "0.001", "1.00"], [1, 2, 0, 3]),
        (["90 min", "12 s", "0.25 s", "599 s"], [2, 1, 3, 0]),
        (["9 of 10", "10", "8"], [2, 0, 1]),
        (["1,000", "inf", "1e-08", "nan", "-inf"], [4, 2, 0, 1, 3]),
        (["conv10", "conv2", "conv1.bias"], [2, 1, 0]),
        (["train.lr=0.1", "train.lr=0.03", "train.lr=1"], [1, 0, 2]),
        (["yes", "", "no"], [2, 0, 1]),
    ],
)
def test_values_are_sorted_by_what_they_mean(
    browser: Browser, pages: dict[str, Path], given: list[str], expected: list[int]
) -> None:
    if browser.run("document.title") != "net: regrow health":
        browser.open(pages["health"], width=1280)
    rows = (
        f"{json.dumps(given)}.map((text, place) => ({{ place, cells: [{{ textContent: text }}] }}))"
    )
    assert browser.run(f"sorted({rows}, 0, false).map((row) => row.place)") == expected


def test_search_filters_and_what_is_shown_is_saved(
    browser: Browser, pages: dict[str, Path], tables: dict[str, Table]
) -> None:
    browser.open(pages["rescued"], width=1280)
    for name, table in tables.items():
        save = f"{_button(name, 'Save as CSV')}.click()"
        assert _read(browser.saved(save)) == _plain([table.columns, *table.rows])
        search = f"{_figure(name)}.querySelector('input')"
        browser.run(f"{search}.value = ' RANDOMOUT '; {search}.dispatchEvent(new Event('input'))")
        wanted = [row for row in table.rows if "randomout" in " ".join(row)]
        assert 0 < len(wanted) <= len(table.rows)
        assert _rows(browser, name) == [row[0] for row in wanted]
        told = browser.run(f"{_figure(name)}.querySelector('output').textContent")
        assert told == f"{len(wanted)} of {len(table.rows)} rows"
        assert _read(browser.saved(save)) == _plain([table.columns, *wanted])
        browser.run(f"{search}.value = 'nobody'; {search}.dispatchEvent(new Event('input'))")
        assert _rows(browser, name) == []


def test_a_figure_is_saved_as_it_was_drawn(browser: Browser, pages: dict[str, Path]) -> None:
    """The wide one in its own colours, also in the dark and on a narrow screen."""
    browser.open(pages["rescued"], width=400, dark=True)
    assert browser.saved(f"{_button('base-sorted', 'Save as SVG')}.click()") == WIDE
    png = browser.saved(f"{_button('base-sorted', 'Save as PNG')}.click()")
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert image.size == (200, 100)  # 200 dots an inch
    assert image.getpixel((100, 50)) == (255, 0, 0)


def test_the_strips_and_the_filters_are_saved(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["health"], width=1280)
    drawn = _parsed(browser.saved(f"{_button('units', 'Save as SVG')}.click()"))
    words = [text.text or "" for text in drawn.iter(f"{{{SPACE}}}text")]
    for layer in LAYERS:
        assert any(word.startswith(f"{layer.path} {layer.kind}") for word in words)
    # The background, four states in the legend, five runs and one of each other layer, three frames.
    assert len(list(drawn.iter(f"{{{SPACE}}}rect"))) == 1 + 4 + 5 + 1 + 1 + 3
    colours = browser.run(
        "[...document.querySelectorAll('.strip rect')].map((one) => getComputedStyle(one).fill)"
    )
    assert set(colours) <= {rect.get("fill") for rect in drawn.iter(f"{{{SPACE}}}rect")}
    filters = _parsed(browser.saved(f"{_button('first-filters', 'Save as SVG')}.click()"))
    assert len(list(filters.iter(f"{{{SPACE}}}image"))) == len(HEALTH.pictures)
    for name in ("units", "first-filters"):
        png = browser.saved(f"{_button(name, 'Save as PNG')}.click()")
        image = Image.open(io.BytesIO(png)).convert("RGB")
        assert min(image.size) > 100
        assert len(image.getcolors(image.width * image.height) or ()) > 3


def test_the_health_pages_tables_are_saved_and_searched(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["health"], width=400)
    save = f"{_button('numbers', 'Save as CSV')}.click()"
    assert _read(browser.saved(save)) == [
        ["Layer", "Overlap", "Gain"],
        ["conv", "0.25", "0.5"],
        ["a<b", "", "20"],
        ["head", "", ""],
    ]
    browser.run(f"{_button('numbers', 'Overlap')}.click()")
    assert _rows(browser, "numbers") == ["conv", "a<b", "head"]
    browser.run(f"{_button('numbers', 'Gain')}.click(); {_button('numbers', 'Gain')}.click()")
    assert _rows(browser, "numbers") == ["a<b", "conv", "head"]


def test_an_arm_leads_to_its_figure_also_one_that_is_folded_up(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["rescued"], width=1280)
    link = f"{_figure('base-arms')}.querySelector('tbody a')"
    assert browser.run(f"{link}.textContent") == "randomout"
    # Put away, as the figures of more arms are.
    browser.run(
        "(() => { const away = document.createElement('details'), own = document.getElementById("
        f"{link}.hash.slice(1)); own.replaceWith(away); away.append(own); }})()"
    )
    browser.run(
        f"new Promise((done) => {{ addEventListener('hashchange', done); {link}.click(); }})"
    )
    assert browser.run("document.querySelector(':target').dataset.name") == (
        "base-renewals-randomout"
    )
    assert browser.run("document.querySelector(':target').getBoundingClientRect().height") > 0


@pytest.mark.parametrize("name", ["rescued", "health"])
@pytest.mark.parametrize("dark", [False, True])
def test_keys_reach_everything_that_acts_and_it_is_seen_where_they_are(
    browser: Browser, pages: dict[str, Path], name: str, dark: bool
) -> None:
    browser.open(pages[name], width=1280, dark=dark)
    acting = browser.run("document.querySelectorAll('a, button, input, summary, .scroll').length")
    told: list[tuple[str, bool]] = []
    for _ in range(min(acting, 40)):
        browser.press("Tab")
        told.append(
            tuple(
                browser.run(
                    "(({ localName, ariaLabel, textContent }) => [ariaLabel || textContent || localName,"
                    " getComputedStyle(document.activeElement).outlineStyle !== 'none'])(document.activeElement)"
                )
            )
        )
    assert len(set(told)) > 15
    assert all(seen for _, seen in told)
    dim = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(dim) < 60) == dark


def test_one_row_needs_no_search(browser: Browser, tmp_path: Path) -> None:
    health = Health(layers=LAYERS[:1], examples=10, evidence=("one forward",))
    write_health_page(health, tmp_path / "one.html", title="one")
    browser.open(tmp_path / "one.html", width=1280)
    assert browser.run(f"{_figure('numbers')}.querySelector('input')") is None
    assert browser.run(f"{_figure('numbers')}.querySelectorAll('button').length") == 1
