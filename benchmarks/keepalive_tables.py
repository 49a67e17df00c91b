"""Table over KeepAlive's studies in results/: failed seeds and mean accuracy of every arm.

python benchmarks/keepalive_tables.py        # reads results/keepalive-*/summary.json
"""

from __future__ import annotations

import json
from pathlib import Path

from overview import entry

RESULTS = Path(__file__).resolve().parents[1] / "results"
ARMS = (
    "none",
    "keepalive",
    "random",
    "no-guard",
    "no-renewal",
    "no-gain-check",
    "randomout",
    "published",
    "clip",
    "agc",
    "third",
)
WORDS = {
    "random": "random control",
    "randomout": "RandomOut (default)",
    "published": "RandomOut as published",
    "clip": "norm clip 1.0",
    "third": "a third of the rate",
}


def rows() -> list[tuple[str, ...]]:
    """One row an arm, one column a study and cell."""
    columns: list[tuple[str, dict[str, str]]] = []
    for path in sorted(RESULTS.glob("keepalive-*/summary.json")):
        document = json.loads(path.read_text())
        for cell in document["cells"]:
            name = path.parent.name.removeprefix("keepalive-")
            name = name if cell["cell"] == "base" else f"{name}, {cell['cell']}"
            columns.append((name, {arm["label"]: entry(arm) for arm in cell["arms"]}))
    head = ("arm", *(name for name, _ in columns))
    body = [(WORDS.get(arm, arm), *(cell.get(arm, "") for _, cell in columns)) for arm in ARMS]
    return [head, *body]


def main() -> None:
    """Write the table."""
    head, *body = rows()
    lines = ["| " + " | ".join(head) + " |", "|:--" * len(head) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    (RESULTS / "keepalive-overview.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
