"""docs/zoo.md is what results/zoo says, and results/zoo is what was promised."""

from __future__ import annotations

from zoo import nets
from zoo.page import LISTS, PAGE, load, page
from zoo.rows import CLASSES


def test_the_page_is_made_from_the_results() -> None:
    assert PAGE.read_text() == page(load()), "python benchmarks/zoo.py --page writes it"


def test_every_network_is_there_and_no_reader_is_wrong() -> None:
    rows = load()
    assert [row["name"] for row in rows] == [*nets.TORCHVISION, *nets.TIMM]
    assert [row["name"] for row in rows if row["wrong"]] == []
    assert sum(row["judged"] for row in rows) > 15_000


def test_most_filters_are_followed() -> None:
    shares = {}
    for package in LISTS:
        rows = [row for row in load() if row["name"].startswith(f"{package}/")]
        total = sum(row["filters"] for row in rows)
        shares[package] = [sum(row[key] for row in rows) / total for key in CLASSES]
    assert shares["torchvision"][0] > 0.96
    assert shares["timm"][0] > 0.92
    assert shares["timm"][0] + shares["timm"][1] > 0.95, "with those that share group statistics"
