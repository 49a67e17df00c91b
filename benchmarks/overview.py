"""Tables over RandomOut's studies in results/: failed seeds and mean accuracy of the arms.

`results/overview.md`: RandomOut as published, with its control. `results/randomout-confirm/overview.md`: beside it,
what RandomOut does by default, where both were run.

python benchmarks/overview.py        # reads results/*/summary.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"
ARMS = ("none", "randomout", "random", "restart", "clip")
BOTH = {
    "demo-digits": ("none", "published", "randomout", "random"),
    "randomout-confirm": ("none", "gradient", "silence", "random"),
}
"""Studies with both rules: plain training, as published, the default, and the control of the default."""


def entry(arm: dict[str, Any] | None) -> str:
    """Failed seeds of n, and the mean accuracy in percent."""
    if arm is None:
        return ""
    accuracy = arm["accuracy"]
    mean = "" if accuracy["mean"] is None else f", {100 * accuracy['mean']:.1f} %"
    return f"{accuracy['failed']}/{accuracy['n']}{mean}"


def side_by_side() -> list[tuple[str, ...]]:
    """One row a study and cell, with both rules."""
    found = []
    for study, labels in BOTH.items():
        document = json.loads((RESULTS / study / "summary.json").read_text())
        for cell in document["cells"]:
            arms = {arm["label"]: arm for arm in cell["arms"]}
            name = study if cell["cell"] == "base" else f"{study}, {cell['cell']}"
            found.append((name, *(entry(arms[label]) for label in labels)))
    return found


def rows() -> list[tuple[str, ...]]:
    """One row a study and cell."""
    found = []
    folders = [path for path in RESULTS.glob("randomout-*") if path.name not in BOTH]
    for path in sorted(folder / "summary.json" for folder in folders):
        document = json.loads(path.read_text())
        for cell in document.get("cells", ()):
            arms = {arm["label"]: arm for arm in cell["arms"]}
            if all(arm["recipe"] != "randomout" for arm in arms.values()):
                continue
            link = f"[{path.parent.name}](../results/{path.parent.name}/README.md)"
            name = link if cell["cell"] == "base" else f"{link}, {cell['cell']}"
            found.append((name, *(entry(arms.get(label)) for label in ARMS)))
    return found


def main() -> None:
    """Write the table."""
    lines = ["| study | " + " | ".join(ARMS) + " |", "|:--" * (len(ARMS) + 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows()]
    (RESULTS / "overview.md").write_text("\n".join(lines) + "\n")
    both = [
        "| study | none | as published | default | random, as the default |",
        "|:--|:--|:--|:--|:--|",
    ]
    both += ["| " + " | ".join(row) + " |" for row in side_by_side()]
    (RESULTS / "randomout-confirm" / "overview.md").write_text("\n".join(both) + "\n")
    print("\n".join([*lines, "", *both]))


if __name__ == "__main__":
    main()
