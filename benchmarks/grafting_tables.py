"""The studies of Filter Grafting beside their price and the paper: tables that README and card quote.

python benchmarks/grafting_tables.py        # reads results/grafting-*/summary.json

Writes `results/grafting-overview.md` (every arm, and what several networks are worth together) and, where the studies
are there, `grafting-c3/beside-paper.md`, `grafting-rates/rates.md` and `grafting-invalid/shares.md` beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"
PAPER = {
    "grafting2": "+0.5 (ResNet-32), +1.1 (MobileNetV2)",
    "grafting2-spread": "+1.1 (ResNet-32), +1.8 (MobileNetV2), baseline with steps",
    "grafting4": "+2.8 (MobileNetV2, cosine against steps)",
    "noise": "+0.1 (MobileNetV2)",
    "internal": "+0.3 (MobileNetV2)",
    "distilled": "+2.4 (ResNet-32, CIFAR-100)",
    "plus2": "+2.8 (ResNet-32, CIFAR-100)",
}
"""Meng et al. 2020 and 2021: points of CIFAR-10 accuracy over the baseline, best epochs; or CIFAR-100."""


def percent(value: float | None) -> str:
    """A share in percent."""
    return "" if value is None else f"{100 * value:.1f}"


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def interval(numbers: Mapping[str, Any]) -> str:
    """A paired difference in points with its interval."""
    difference = points(numbers["mean_difference"])
    if numbers["low"] is None:
        return difference
    return f"{difference} [{points(numbers['low'])} to {points(numbers['high'])}]"


def against(comparisons: list[dict[str, Any]], arm: str, versus: str) -> str:
    """The difference of two arms, or nothing where it was not made."""
    return next(
        (
            interval(each["numbers"])
            for each in comparisons
            if (each["arm"], each["versus"]) == (arm, versus)
        ),
        "",
    )


def overview(documents: Mapping[str, dict[str, Any]]) -> list[str]:
    """Every arm of every study with one cell, and its networks as one."""
    lines = [
        "| study | arm | cost | networks at test | n | accuracy (%) | minus none, points [95 % CI] | "
        "minus plain averaging |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for name, document in documents.items():
        if len(document["cells"]) > 1:
            continue
        cell = document["cells"][0]
        for arm in cell["arms"]:
            label, cost = arm["label"], arm["cost"]["relative"]
            twin = arm.get("averaging_control")
            lines.append(
                f"| {name} | {label} | {cost:g} | 1 | {arm['accuracy']['n']} | {percent(arm['accuracy']['mean'])} | "
                f"{against(cell['comparisons'], label, cell['baseline'])} | "
                f"{against(cell['comparisons'], label, twin) if twin else ''} |"
            )
            for joint in cell["joint"]:
                own, _, how = joint["arm"].partition(": ")
                if own != label or joint["versus"] != cell["baseline"]:
                    continue
                at_test = arm["networks"] if how.startswith("ensemble") else 1
                numbers = joint["numbers"]
                lines.append(
                    f"| {name} | {joint['arm']} | {cost:g} | {at_test} | {numbers['n']} | "
                    f"{percent(numbers['mean_a'])} | {interval(numbers)} |  |"
                )
    return lines


def beside_paper(document: dict[str, Any]) -> list[str]:
    """Our differences and the paper's."""
    cell = document["cells"][0]
    lines = [
        "| arm | n | accuracy (%) | minus none, points [95 % CI] | paper: minus its baseline |",
        "|:--|--:|--:|--:|:--|",
    ]
    for arm in cell["arms"]:
        label = arm["label"]
        lines.append(
            f"| {label} | {arm['accuracy']['n']} | {percent(arm['accuracy']['mean'])} | "
            f"{against(cell['comparisons'], label, cell['baseline'])} | {PAPER.get(label, '')} |"
        )
    return lines


def rates(document: dict[str, Any]) -> list[str]:
    """One row a schedule and rate."""
    labels = [arm["label"] for arm in document["cells"][0]["arms"]]
    others = [label for label in labels if label != document["cells"][0]["baseline"]]
    lines = [
        "| cell | n | "
        + " | ".join(f"{label} (%)" for label in labels)
        + " | "
        + " | ".join(f"{label} minus none" for label in others)
        + " |",
        "|:--|--:|" + "--:|" * (len(labels) + len(others)),
    ]
    for cell in document["cells"]:
        accuracies = [percent(arm["accuracy"]["mean"]) for arm in cell["arms"]]
        differences = [against(cell["comparisons"], label, cell["baseline"]) for label in others]
        n = min(arm["accuracy"]["n"] for arm in cell["arms"])
        lines.append(f"| {cell['cell']} | {n} | " + " | ".join([*accuracies, *differences]) + " |")
    return lines


def invalid(document: dict[str, Any]) -> list[str]:
    """Shares of invalid filters and the sum of the layers' entropies at the end."""
    lines = [
        "| arm | n | l1 < 1 (%) | l1 < 0.1 (%) | l1 < 0.01 (%) | l1 < 0.001 (%) | sum of layer entropies |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for arm in document["cells"][0]["weights"]:
        shares = " | ".join(percent(share) for _, share in arm["invalid"])
        lines.append(f"| {arm['label']} | {arm['n']} | {shares} | {arm['entropy']:.2f} |")
    return lines


def main() -> None:
    """Write the tables of the studies that are there."""
    documents = {
        path.parent.name: json.loads(path.read_text())
        for path in sorted(RESULTS.glob("grafting-*/summary.json"))
    }
    written = {
        "grafting-overview.md": overview(documents),
        **{
            f"{name}/{file}": make(documents[name])
            for name, file, make in (
                ("grafting-c3", "beside-paper.md", beside_paper),
                ("grafting-rates", "rates.md", rates),
                ("grafting-invalid", "shares.md", invalid),
            )
            if name in documents
        },
    }
    for name, lines in written.items():
        (RESULTS / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
