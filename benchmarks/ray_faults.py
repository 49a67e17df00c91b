"""Faults at random moments of studies on a local cluster of three nodes: how many, and what was left.

    make bench-ray, or: python benchmarks/ray_faults.py [--faults 50] [--seed 0] [--out results/ray/faults]

Studies with families that part, controls, teachers and students are run by `regrow run --ray`, one after the other,
until all faults have happened: a worker, a node or the command killed, the shared folder away, the object store full.
After each fault the trials that had ended must be there, and each study's tables must be those of a local run, but for
times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from written import write_results

# What breaks, and who looks, lies beside the tests.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")

from on_ray.faults import Faults, quiet, write_study  # noqa: E402
from on_ray.nodes import Nodes  # noqa: E402


def main() -> None:
    """Let things break, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = write_study(folder, seeds=6, epochs=40)
        local = quiet(study, folder / "local")
        nodes = Nodes(count=3)
        try:
            found = Faults(nodes, folder, study, local, seed=asked.seed).run(asked.faults)
        finally:
            nodes.close()
    lines = ["| fault | how often |", "|:--|--:|"]
    lines += [f"| {kind} | {times} |" for kind, times in sorted(found.faults.items())]
    said = ", ".join(f"{kind} {times}" for kind, times in sorted(found.said.items()) if times)
    lines += [
        "",
        f"{found.studies} studies of {len(local['trials'])} trials in {found.sessions} sessions. Trials that had ended "
        f"at a fault: {found.ended} over all faults; lost or changed afterwards: {found.lost}. Tables that differ from "
        f"the local run's: {found.different} of {found.studies * len(local)}.",
        "",
        f"Said by the command: {said}. Ended by itself without success: {len(found.exits)}.",
        *(f"- {text}" for text in found.exits),
    ]
    print("\n".join(lines))
    if asked.out is not None:
        # Not `asdict`, which counts a counter's items.
        numbers = {**vars(found), "trials": len(local["trials"]), "seed": asked.seed}
        write_results(asked.out, numbers, lines)


if __name__ == "__main__":
    main()
