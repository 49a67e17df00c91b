"""RandomOut's figure 3 beside the paper: the table that README and card quote.

python benchmarks/figure3_tables.py        # reads results/randomout-figure3/summary.json

Writes `beside-paper.md` beside it: what the paper says of the grid of thresholds and shares of active epochs, and what
came out here, region by region. The paper gives no numbers for the cells of its figure.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from regrow.report.sweep.panels import rank_correlation
from regrow.report.wording import interval, points, signed

RESULTS = Path(__file__).resolve().parents[1] / "results"
PAPER_BEST = {"East": (1e-8, 0.6), "West": (1e-12, 0.9)}
"""Cohen, Lo, Ding 2016, figure 4: threshold and share of active epochs of the best cell."""

NOTHING = "not measured"

Panel = Mapping[str, Any]
Cell = Mapping[str, Any]


def region_of(panel: Panel, study: Mapping[str, Any]) -> str:
    """The region of a panel: of its name, else of the study's data."""
    for part in panel["panel"].split(","):
        key, _, value = part.partition("=")
        if key.endswith("region"):
            return value
    return str(study.get("data", {}).get("settings", {}).get("region", "all"))


def settings(panel: Panel, cell: Cell) -> tuple[float, float]:
    """Threshold and share of active epochs of a cell."""
    values = {panel["x"]["setting"]: cell["x"], panel["y"]["setting"]: cell["y"]}
    return values["threshold"], values["active_fraction"]


def gain(numbers: Mapping[str, Any]) -> str:
    """A mean gain with its interval and n."""
    if numbers["mean_difference"] is None:
        return NOTHING
    ends = interval(numbers["low"], numbers["high"])
    return f"{points(numbers['mean_difference'])} [{ends}], n = {numbers['n']}"


def failures(numbers: Mapping[str, Any]) -> str:
    """Failed seeds without and with, and how many of them were recovered."""
    without = numbers["failed_b_only"] + numbers["failed_both"]
    under = numbers["failed_a_only"] + numbers["failed_both"]
    return (
        f"{without} of {numbers['both']} without, {under} with; "
        f"{numbers['failed_b_only']} of {without} recovered"
    )


def named(threshold: float, fraction: float) -> str:
    """A cell as the paper writes it."""
    return f"tau {threshold:g}, P {100 * fraction:g} %"


def trends(panel: Panel, *, along: int) -> str:
    """The lines of the grid along which the gain rises and falls: along the threshold (0) or along P (1)."""
    lines: dict[float, list[tuple[float, float]]] = {}
    for cell in panel["cells"]:
        mean = cell["numbers"]["mean_difference"]
        if mean is not None:
            place = settings(panel, cell)
            lines.setdefault(place[1 - along], []).append((place[along], mean))
    found = [
        rank_correlation([value for value, _ in line], [mean for _, mean in line])
        for line in lines.values()
    ]
    known = [value for value in found if value is not None]
    if not known:
        return NOTHING
    axis = panel["x"] if panel["x"]["setting"] == ("threshold", "active_fraction")[along] else None
    trend = panel["y_trend"] if axis is None else panel["x_trend"]
    over = "" if trend is None else f"; rank correlation over all cells {signed(trend, digits=2)}"
    rising, falling = sum(value > 0 for value in known), sum(value < 0 for value in known)
    return f"rises along {rising} of {len(known)} lines, falls along {falling}{over}"


def _at_paper(panel: Panel, region: str, told: Callable[[Mapping[str, Any]], str]) -> str:
    for cell in panel["cells"]:
        if settings(panel, cell) == PAPER_BEST.get(region):
            return told(cell["numbers"])
    return NOTHING


def _chosen(panel: Panel) -> tuple[str, str, str]:
    """The chosen cell, its gain on the seeds held back, and its failures over all seeds."""
    if not panel["chosen"]:
        return NOTHING, NOTHING, NOTHING
    chosen = panel["chosen"][0]
    whole = next(cell for cell in panel["cells"] if cell["cell"] == chosen["cell"])
    return (
        named(*settings(panel, chosen)),
        gain(chosen["after"]["numbers"]),
        failures(whole["numbers"]),
    )


def _largest(panel: Panel) -> str:
    best = next((cell for cell in panel["cells"] if cell["cell"] == panel["best"]), None)
    if best is None:
        return NOTHING
    return f"{gain(best['numbers'])} at {named(*settings(panel, best))}"


def _verdicts(panel: Panel) -> str:
    outcomes = [cell["outcome"] for cell in panel["cells"]]
    return f"{outcomes.count('gain')} above 0, {outcomes.count('harm')} below, of {len(outcomes)}"


def beside_paper(document: Mapping[str, Any]) -> list[str]:
    """The paper's claims and ours, one column a region."""
    panels = {
        region_of(panel, document["study"]): panel
        for panel in document["sweep"]["panels"]
        if panel["versus"] == "none"
    }
    paper = "; ".join(f"{region}: {named(*cell)}" for region, cell in PAPER_BEST.items())
    rows: Sequence[tuple[str, str, Callable[[str, Panel], str]]] = (
        ("trials missing of this table", "", lambda _, p: str(p["missing"])),
        ("best cell, chosen on half of the seeds", paper, lambda _, p: _chosen(p)[0]),
        (
            "gain of it on the other half, points [95 % CI]",
            "up to 1.8 %",
            lambda _, p: _chosen(p)[1],
        ),
        (
            "largest mean gain of all cells (too large by the picking)",
            "up to 1.8 %",
            lambda _, p: _largest(p),
        ),
        ("gain at the paper's best cell", "", lambda region, p: _at_paper(p, region, gain)),
        ("cells whose interval excludes 0", "gains over large areas", lambda _, p: _verdicts(p)),
        (
            "along the threshold at fixed P",
            "a lower tau is better",
            lambda _, p: trends(p, along=0),
        ),
        ("along P at fixed tau", "a larger P is better", lambda _, p: trends(p, along=1)),
        (
            "failed seeds at the chosen cell, all seeds",
            "all recovered (East)",
            lambda _, p: _chosen(p)[2],
        ),
        (
            "failed seeds at the paper's best cell",
            "all recovered (East)",
            lambda region, p: _at_paper(p, region, failures),
        ),
    )
    return [
        "| | paper | " + " | ".join(panels) + " |",
        "|:--" * (len(panels) + 2) + "|",
        *(
            f"| {name} | {claim} | "
            + " | ".join(told(region, panel) for region, panel in panels.items())
            + " |"
            for name, claim, told in rows
        ),
    ]


def main() -> None:
    """Write the table of the study, where it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS / "randomout-figure3")
    folder: Path = parser.parse_args().folder
    if not (folder / "summary.json").is_file():
        parser.error(
            f"{folder}: must hold summary.json, written by: regrow report runs/randomout-figure3 --export {folder}"
        )
    document = json.loads((folder / "summary.json").read_text())
    (folder / "beside-paper.md").write_text("\n".join(beside_paper(document)) + "\n")


if __name__ == "__main__":
    main()
