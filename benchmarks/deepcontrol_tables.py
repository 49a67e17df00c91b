"""The studies of Deep Control as the tables that its page quotes.

python benchmarks/deepcontrol_tables.py        # reads results/deepcontrol-*/summary.json

Writes beside each `overview.md`: accuracy and failed seeds of every arm in every cell, and each arm's paired difference
to the baseline.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grafting_tables import against, percent

RESULTS = Path(__file__).resolve().parents[1] / "results"


def accuracy(arm: dict[str, Any]) -> str:
    """Mean test accuracy, and how many seeds failed where any did."""
    numbers = arm["accuracy"]
    failed = f" ({numbers['failed']} of {numbers['n']} failed)" if numbers["failed"] else ""
    return f"{percent(numbers['mean'])}{failed}"


def grid(rows: Sequence[str], columns: Sequence[str], corner: str, cell: Any) -> list[str]:
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


def main() -> None:
    """Write the tables of the studies that are there."""
    for path in sorted(RESULTS.glob("deepcontrol-*/summary.json")):
        document = json.loads(path.read_text())
        if "cells" in document:
            path.with_name("overview.md").write_text("\n".join(overview(document)) + "\n")


if __name__ == "__main__":
    main()
