"""Tables over KeepAlive's studies in results/.

`keepalive-overview.md`: failed seeds and mean accuracy of every arm in the regimes on which the defaults were chosen.
`keepalive-held-out.md`: the same on the two regions of the craters that nothing was chosen on.
`keepalive-rivals.md`, `keepalive-draws.md`: other rates and a warm-up; what a renewed unit is.
`keepalive-harmless.md`: KeepAlive minus plain training where nothing fails.
`keepalive-edge.md`: accuracy by learning rate, of networks with and without norms.

python benchmarks/keepalive_tables.py [--runs FOLDER]       # reads results/keepalive-*/summary.json

With `--runs`, the folder that holds the studies' own results folders, it is also looked up and noted beside the tables
(`equal.json`) in which cells KeepAlive's epochs are those of plain training to the last digit.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from overview import entry

RESULTS = Path(__file__).resolve().parents[1] / "results"
REGIMES = ("born-dead", "blown-up", "plateau", "author-plateau", "paper")
WORDS = {
    "none": "none",
    "keepalive": "keepalive",
    "random": "random control",
    "no-guard": "no guard",
    "no-renewal": "no renewal",
    "no-gain-check": "no gain check",
    "randomout": "RandomOut (default)",
    "published": "RandomOut as published",
    "clip": "norm clip 1.0",
    "agc": "adaptive clip",
    "third": "a third of the rate",
    "warm-up": "warm-up of 100 steps",
    "he": "He's draw (default)",
    "centred": "centred draw",
    "initial": "first values",
}
"""Arms in the order of the rows."""

STANDARDISED = {
    "none": "standardised inputs, none",
    "keepalive": "standardised inputs, keepalive",
}
"""The arms of the healthy study, whose network is that of the one that is born dead."""

Cell = dict[str, Any]


def cells(study: str) -> Iterator[tuple[str, Cell]]:
    """The cells of a study with short names; none where its results are not there."""
    path = RESULTS / f"keepalive-{study}" / "summary.json"
    if path.exists():
        for cell in json.loads(path.read_text())["cells"]:
            settings = "" if cell["cell"] == "base" else cell["cell"]
            short = settings.replace("train.lr=", "rate ").replace("data.region=", "")
            yield short.replace(",", ", "), cell


def arms(cell: Cell) -> dict[str, str]:
    """By label: failed seeds of n, mean accuracy."""
    return {arm["label"]: entry(arm) for arm in cell["arms"]}


def difference(cell: Cell, arm: str, other: str = "none") -> str:
    """The paired difference in points and its interval."""
    for found in cell["comparisons"]:
        if (found["arm"], found["versus"]) == (arm, other):
            numbers = found["numbers"]
            mean, low, high = (numbers[key] for key in ("mean_difference", "low", "high"))
            if low is None or high is None:
                return "" if mean is None else f"{100 * mean:+.2f}"
            return f"{100 * mean:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    return ""


def by_arm(studies: Sequence[str], healthy: str) -> list[tuple[str, ...]]:
    """One row an arm, one column a study and cell."""
    columns: list[tuple[str, dict[str, str]]] = []
    for study in studies:
        regime = study.removeprefix("held-out-").replace("-", " ")
        for name, cell in cells(study):
            column = arms(cell)
            if regime == "born dead":
                for other, standardised in cells(healthy):
                    if other == name:
                        told = arms(standardised)
                        column |= {STANDARDISED[label]: told[label] for label in STANDARDISED}
            columns.append((f"{regime}, {name}" if name else regime, column))
    head = ("failed of n, mean accuracy", *(name for name, _ in columns))
    keys = [*WORDS.items(), *((name, name) for name in STANDARDISED.values())]
    rows = [(word, *(column.get(key, "") for _, column in columns)) for key, word in keys]
    return [head, *(row for row in rows if any(row[1:]))]


def harmless() -> list[tuple[str, ...]]:
    """One row a study and cell in which plain training loses no seed."""
    rows = [("where", "n", "none (%)", "renewed a trial", "keepalive minus none (points)")]
    names = ["healthy", "held-out-healthy"]
    names += sorted(
        path.name.removeprefix("keepalive-") for path in RESULTS.glob("keepalive-harmless-*")
    )
    for study in names:
        for name, cell in cells(study):
            found = {arm["label"]: arm for arm in cell["arms"]}
            plain, kept = found["none"]["accuracy"], found["keepalive"]
            where = study.removeprefix("harmless-").replace("-", " ")
            same = RESULTS / f"keepalive-{study}" / "equal.json"
            equal = same.exists() and cell["cell"] in json.loads(same.read_text())
            rows.append(
                (
                    f"{where}, {name}" if name else where,
                    str(plain["n"]),
                    f"{100 * plain['mean']:.1f}",
                    f"{kept['renewed']:.1f}",
                    "the same bits" if equal else difference(cell, "keepalive"),
                )
            )
    return rows


def note_equal(runs: Path) -> None:
    """Note the cells in which every loss and accuracy of every epoch is that of plain training."""
    for path in sorted(runs.glob("keepalive-*/results.sqlite")):
        table = RESULTS / path.parent.name
        if not table.is_dir():
            continue
        by_arm: dict[str, dict[str, set[tuple[Any, ...]]]] = {}
        with sqlite3.connect(path) as database:
            rows = database.execute(
                "SELECT cell, arm, seed, epoch, e.train_loss, e.train_accuracy, e.test_loss, e.test_accuracy "
                "FROM epochs e JOIN trials USING (trial) WHERE arm IN ('none', 'keepalive')"
            )
            for cell, arm, *values in rows:
                by_arm.setdefault(cell, {}).setdefault(arm, set()).add(tuple(values))
        equal = [cell for cell, arms in by_arm.items() if arms["none"] == arms.get("keepalive")]
        (table / "equal.json").write_text(json.dumps(equal) + "\n")


def edge() -> list[tuple[str, ...]]:
    """One row a network and learning rate."""
    rows = [("network", "rate", *(WORDS[arm] for arm in EDGE))]
    for network in ("plain", "batch"):
        for name, cell in cells(f"edge-{network}"):
            told = arms(cell)
            norms = "no norms" if network == "plain" else "batch norm"
            rows.append((norms, name.removeprefix("rate "), *(told.get(arm, "") for arm in EDGE)))
    return rows


EDGE = ("none", "clip", "no-renewal", "keepalive")


def written(name: str, rows: Iterable[Sequence[str]]) -> None:
    """Write one table, and print it; nothing where it has no rows."""
    head, *body = rows
    if body:
        lines = ["| " + " | ".join(head) + " |", "|:--" * len(head) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in body]
        (RESULTS / name).write_text("\n".join(lines) + "\n")
        print("\n".join([name, *lines, ""]))


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path)
    runs = parser.parse_args().runs
    if runs is not None:
        note_equal(runs)
    written("keepalive-overview.md", by_arm(REGIMES, "healthy"))
    held_out = [f"held-out-{regime}" for regime in REGIMES[:3]]
    written("keepalive-held-out.md", by_arm(held_out, "held-out-healthy"))
    written("keepalive-rivals.md", by_arm(["rivals"], "healthy"))
    written("keepalive-draws.md", by_arm(["draws"], "healthy"))
    written("keepalive-harmless.md", harmless())
    written("keepalive-edge.md", edge())


if __name__ == "__main__":
    main()
