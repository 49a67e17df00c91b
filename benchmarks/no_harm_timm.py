"""Does RandomOut leave healthy networks alone? Twelve of timm's architectures, with scales that begin at zero.

    OMP_NUM_THREADS=1 python benchmarks/no_harm_timm.py [--out results/no-harm-timm]

Each network trains for 30 steps of 32 crops of two photographs with SGD and with AdamW; one filter is killed by hand
before (`tests/zoo/harmless.py`). Runs that have ended are kept in runs/no-harm-timm, and not made again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch
from written import write_results

# The networks lie beside the tests; this folder has a script of the same name.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")

from zoo import harmless  # noqa: E402

PARTS = Path("runs/no-harm-timm")


def part(name: str, optimizer: str) -> dict[str, Any]:
    """One run, made or read."""
    file = PARTS / f"{name}-{optimizer}.json"
    if not file.exists():
        found = harmless.run(name, optimizer)
        PARTS.mkdir(parents=True, exist_ok=True)
        file.write_text(
            json.dumps({"name": name, "optimizer": optimizer, **dataclasses.asdict(found)})
        )
    return json.loads(file.read_text())


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    killed = "no place for one" if row["killed"] is None else "{}, filter {}".format(*row["killed"])
    after = "-" if row["found_after"] is None else str(row["found_after"])
    cells = [row[key] for key in ("name", "optimizer", "filters", "living", "silent")]
    return "| " + " | ".join(str(each) for each in (*cells, killed, after)) + " |"


def main() -> None:
    """Run, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in harmless.NAMES:
        for optimizer in harmless.OPTIMIZERS:
            rows.append(part(name, optimizer))
            print(line(rows[-1]), flush=True)
    lines = [
        "| architecture | optimizer | filters watched | living ones renewed | others that were silent | killed by hand "
        "| found after (steps) |",
        "|:--|:--|--:|--:|--:|:--|--:|",
        *map(line, rows),
    ]
    if given.out is not None:
        about = {"steps": harmless.STEPS, "batch": harmless.BATCH, "size": harmless.SIZE}
        write_results(given.out, {"rows": rows, **about}, lines)


if __name__ == "__main__":
    main()
