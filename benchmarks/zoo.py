"""Trace and judge the zoo: one line a network in results/zoo, and docs/zoo.md from all of them.

A network whose line is there is not judged again, so a run that was stopped goes on; networks that are named are judged
anyway, and their lines replaced.

    python benchmarks/zoo.py [--page] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

# The networks and their judge lie beside the tests. In place of this folder: its name for this file is theirs.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")

from zoo import page  # noqa: E402
from zoo.rows import Row, measure  # noqa: E402


def write(row: Row) -> None:
    """Put a row in its place: files hold the rows in the order of the lists."""
    package = row["name"].partition("/")[0]
    rows = {each["name"]: each for each in page.load()} | {row["name"]: row}
    names = [name for name in page.LISTS[package] if name in rows]
    page.RESULTS.mkdir(parents=True, exist_ok=True)
    file = page.RESULTS / f"{package}.jsonl"
    begun = file.with_suffix(".begun")
    begun.write_text("".join(json.dumps(rows[name]) + "\n" for name in names))
    begun.replace(file)


def main() -> int:
    """Judge what is named, or what has no line yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as timm/resnet18")
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    every = [name for names in page.LISTS.values() for name in names]
    unknown = sorted(set(asked.names) - set(every))
    if unknown:
        parser.error(f"not in the zoo's lists (tests/zoo/nets.py): {', '.join(unknown)}")
    done = {row["name"] for row in page.load()}
    todo = [] if asked.page else asked.names or [name for name in every if name not in done]
    command = (
        "python benchmarks/zoo.py"
        if not asked.names
        else f"python benchmarks/zoo.py {' '.join(asked.names)}"
    )
    for number, name in enumerate(todo, start=1):
        row = {**measure(name), "command": command}
        write(row)
        wrong = f", {len(row['wrong'])} WRONG: {row['wrong'][0]}" if row["wrong"] else ""
        print(
            f"{number}/{len(todo)} {name}: {row['followed']} of {row['filters']} followed, "
            f"{row['statistics']} share statistics, {row['mixed']} mixed, "
            f"{row['refused']} refused, {row['judged']} judged{wrong} "
            f"({row['trace_seconds']} + {row['judge_seconds']} s)",
            flush=True,
        )
    rows = page.load()
    page.PAGE.write_text(page.page(rows))
    return int(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
