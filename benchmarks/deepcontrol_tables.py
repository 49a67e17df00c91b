"""The studies of Deep Control as the tables that its page quotes.

python benchmarks/deepcontrol_tables.py        # reads results/deepcontrol-*/summary.json

Writes beside each `overview.md`: accuracy and failed seeds of every arm in every cell, and each arm's paired difference
to the baseline; and for the study of batch sizes `best.md`: each norm at its best rate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grafting_tables import against, percent

RESULTS = Path(__file__).resolve().parents[1] / "results"


def accuracy(arm: dict[str, Any]) -> str:
    """Mean test accuracy, and how many seeds failed where any did."""
    numbers = arm["accuracy"]
    failed = f" ({numbers['failed']} of {numbers['n']} failed)" if numbers["failed"] else ""
    return f"{percent(numbers['mean'])}{failed}"


def grid(
    rows: Sequence[str], columns: Sequence[str], corner: str, cell: Callable[[str, str], str]
) -> list[str]:
    """A table of texts."""
    return [
        f"| {corner} | " + " | ".join(columns) + " |",
        "|:--|" + "--:|" * len(columns),
        *(
            f"| {row} | " + " | ".join(cell(row, column) for column in columns) + " |"
            for row in rows
        ),
    ]


def overview(document: dict[str, Any]) -> list[str]:
    """Both tables of a study."""
    cells = {cell["cell"]: cell for cell in document["cells"]}
    arms = {(name, arm["label"]): arm for name, cell in cells.items() for arm in cell["arms"]}
    labels = [arm["label"] for arm in document["cells"][0]["arms"]]
    baseline = document["cells"][0]["baseline"]
    counts = {arm["accuracy"]["n"] for arm in arms.values()}
    n = str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"

    def mean(row: str, column: str) -> str:
        return accuracy(arms[column, row])

    def difference(row: str, column: str) -> str:
        return against(cells[column]["comparisons"], row, baseline)

    others = [label for label in labels if label != baseline]
    return [
        *grid(labels, list(cells), f"accuracy (%), n = {n}", mean),
        "",
        *grid(others, list(cells), f"minus {baseline}, points [95 % CI]", difference),
    ]


def best(document: dict[str, Any]) -> list[str]:
    """Of each norm and batch size the rate with the highest mean accuracy."""
    found: dict[tuple[str, str], tuple[float, str]] = {}
    sizes: dict[str, None] = {}
    labels = [arm["label"] for arm in document["cells"][0]["arms"]]
    for cell in document["cells"]:
        size, rate = (axis.partition("=")[2] for axis in cell["cell"].split(","))
        sizes[size] = None
        for arm in cell["arms"]:
            key = arm["label"], size
            mean = arm["accuracy"]["mean"]
            text = f"{accuracy(arm)}, lr {rate}"
            found[key] = max(found.get(key, (0.0, "")), (mean, text))
    n = document["cells"][0]["arms"][0]["accuracy"]["n"]
    columns = {f"batches of {size}": size for size in sizes}
    return grid(
        labels,
        list(columns),
        f"best accuracy (%), n = {n}",
        lambda row, column: found[row, columns[column]][1],
    )


def main() -> None:
    """Write the tables of the studies that are there."""
    for path in sorted(RESULTS.glob("deepcontrol-*/summary.json")):
        document = json.loads(path.read_text())
        if "cells" in document:
            path.with_name("overview.md").write_text("\n".join(overview(document)) + "\n")
        if path.parent.name == "deepcontrol-batch":
            path.with_name("best.md").write_text("\n".join(best(document)) + "\n")


if __name__ == "__main__":
    main()
