"""The health page: all that was found is on it, and it loads nothing; `test_browser.py` opens it."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from regrow.health import MEASURES, Health, LayerHealth
from regrow.report.health_page import health_page, write_health_page
from regrow.report.pixels import filter_image

LAYERS = (
    LayerHealth(
        path="conv",
        kind="conv",
        count=6,
        units={"dead": (1, 2), "duplicate": (4,), "rare": ()},
        numbers={"gain": 0.5, "overlap": 0.25},
    ),
    LayerHealth(path="a<b", kind="linear", count=3, units={}, numbers={"gain": 20.0}),
    LayerHealth(
        path="head", kind="linear", count=2, is_head=True, why_not="its units are the output"
    ),
)
PICTURES = tuple((((float(number), -1.0), (0.0, 1.0)),) for number in range(6))
HEALTH = Health(
    layers=LAYERS,
    examples=10,
    evidence=("weights only", "one forward"),
    input_shift=2.0,
    notes=("gradients: no & targets",),
    pictures=PICTURES,
)


class _Page(HTMLParser):
    """Checks that every element is closed in its turn, and keeps what is asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.rects: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.links += [named["href"] or ""] if tag == "a" else []
        self.loads += [str(named[key]) for key in ("src", "data-src") if key in named]
        self.rects += [named] if tag == "rect" else []
        if tag not in {"meta", "img", "input", "br", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_one_file_that_loads_nothing() -> None:
    text = health_page(HEALTH, title="my<net>")
    page = _Page(text)
    assert all(each.startswith("data:") for each in page.loads)
    assert not re.search(r"https?://", text)
    assert len(page.ids) == len(set(page.ids))
    assert {each.removeprefix("#") for each in page.links} <= set(page.ids)
    assert "my&lt;net&gt;" in text
    assert "my<net>" not in text
    assert "a&lt;b" in text
    assert "no &amp; targets" in text


def test_every_symptom_advice_and_measure_is_on_it() -> None:
    text = health_page(HEALTH, title="net")
    assert "2 of 6 units dead" in text
    assert "blown up, gives 20 times what it hears" in text
    for one in HEALTH.advice:
        assert one.title in text
        assert one.source in text
    for measure in MEASURES:
        assert measure.title in text
    assert "Nobody is named by: rare-firing." in text


def test_strips_show_every_unit_once() -> None:
    page = _Page(health_page(HEALTH, title="net"))
    runs = [(each["class"], int(each["x"] or 0), int(each["width"] or 0)) for each in page.rects]
    assert runs[:4] == [
        ("state well", 0, 1),
        ("state dead", 1, 2),
        ("state well", 3, 1),
        ("state duplicate", 4, 1),
    ]
    assert sum(width for _, _, width in runs) == 11
    assert runs[-1] == ("state unknown", 0, 2)


def test_a_healthy_network_is_left_as_it_is() -> None:
    healthy = Health(layers=LAYERS[2:], examples=10, evidence=("one forward",))
    text = health_page(healthy, title="net")
    assert "Nothing found: leave it as it is." in text
    assert 'id="symptoms"' not in text
    assert "First filters" not in text


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_an_image_has_the_filters_numbers(channels: int) -> None:
    numbers = [[[0.0, -2.0], [2.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], [[-1.0, 0.0], [0.0, 0.0]]]
    uri = filter_image(numbers[:channels])
    data = base64.b64decode(uri.partition(",")[2])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert (width, height, depth, kind) == (2, 2, 8, 2 if channels == 3 else 0)
    start = data.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", data[start - 8 : start - 4])
    pixels = zlib.decompress(data[start : start + length])
    expected = {
        False: bytes([0, 128, 0, 0, 255, 191]),
        True: bytes([0, 128, 191, 64, 0, 191, 128, 0, 255, 191, 128, 191, 191, 128]),
    }
    assert pixels == expected[channels == 3]


def test_a_filter_of_zeros_is_grey() -> None:
    assert filter_image([[[0.0, float("nan")]]]).startswith("data:image/png;base64,")


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    write_health_page(HEALTH, tmp_path / "health.html", title="net")
    assert (tmp_path / "health.html").read_text() == health_page(HEALTH, title="net")
