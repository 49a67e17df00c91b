"""RePr's studies beside the paper: `results/repr-c3/beside-paper.md` and `results/repr-overview.md`.

python benchmarks/repr_tables.py        # reads results/repr-*/summary.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"
PAPER = {
    "none": 72.1,
    "random": 73.4,
    "activations": 74.1,
    "apoz": 74.3,
    "gradients": 74.3,
    "taylor": 74.3,
    "hessian": 74.4,
    "weights": 74.6,
    "oracle": 76.0,
    "overlap": 76.4,
}
"""Prakash et al. 2019, table 1: test accuracy of C^3(32) on CIFAR-10 by ranking, in percent."""


def mean(arm: dict[str, Any]) -> str:
    """Mean accuracy in percent."""
    value = arm["accuracy"]["mean"]
    return "" if value is None else f"{100 * value:.1f}"


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def against(cell: dict[str, Any], label: str, versus: str) -> str:
    """Paired difference in points with its interval, or nothing where it was not made."""
    for comparison in cell["comparisons"]:
        if (comparison["arm"], comparison["versus"]) == (label, versus):
            numbers = comparison["numbers"]
            difference = points(numbers["mean_difference"])
            if numbers["low"] is None:
                return difference
            return f"{difference} [{points(numbers['low'])} to {points(numbers['high'])}]"
    return ""


def beside_paper(document: dict[str, Any]) -> list[str]:
    """One row a ranking: ours, and the paper's."""
    cell = document["cells"][0]
    lines = [
        "| arm | n | accuracy (%) | minus none, points [95 % CI] | paper: accuracy (%) | paper: minus standard |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for arm in cell["arms"]:
        label = arm["label"]
        theirs = PAPER.get(label)
        gain = "" if theirs is None or label == "none" else f"{theirs - PAPER['none']:+.1f}"
        lines.append(
            f"| {label} | {arm['accuracy']['n']} | {mean(arm)} | {against(cell, label, 'none')} | "
            f"{'' if theirs is None else theirs} | {gain} |"
        )
    return lines


def overview() -> list[str]:
    """One row an arm of every study."""
    lines = [
        "| study | arm | n | accuracy (%) | minus none, points [95 % CI] |",
        "|:--|:--|--:|--:|--:|",
    ]
    for path in sorted(RESULTS.glob("repr-*/summary.json")):
        document = json.loads(path.read_text())
        name = path.parent.name
        for cell in document.get("cells", ()):
            where = name if cell["cell"] == "base" else f"{name}, {cell['cell']}"
            lines += [
                f"| {where} | {arm['label']} | {arm['accuracy']['n']} | {mean(arm)} | "
                f"{against(cell, arm['label'], 'none')} |"
                for arm in cell["arms"]
            ]
    return lines


def main() -> None:
    """Write both tables."""
    source = RESULTS / "repr-c3" / "summary.json"
    tables = {RESULTS / "repr-overview.md": overview()}
    if source.exists():
        tables[source.with_name("beside-paper.md")] = beside_paper(json.loads(source.read_text()))
    for path, lines in tables.items():
        path.write_text("\n".join(lines) + "\n")
        print(path.relative_to(RESULTS.parent), *lines, sep="\n")


if __name__ == "__main__":
    main()
