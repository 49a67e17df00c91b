"""Judge the oracle's small networks: the table of kinds that the zoo lacks.

Networks that are not right yet have their reason in `tests/oracle/test_oracle.py`; the table says how many findings
each has.

    python benchmarks/oracle.py [--out FOLDER] [NAME ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from written import write_results

# The networks and their judge lie beside the tests. In place of this folder: its name for this file is theirs.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")

from oracle.collection import KINDS, NETWORKS, kind_of  # noqa: E402
from oracle.rows import Row, measure  # noqa: E402

_COUNTS = ("followed", "refused", "judged", "renewals")


def judged(name: str) -> Row:
    """One network; a trace that fails is a finding."""
    try:
        return measure(name)
    except AttributeError as error:
        found = [f"{type(error).__name__}: {error}"]
        return {**dict.fromkeys(_COUNTS, 0), "wrong": found, "harm": [], "why": []}


def line(name: str, row: Row) -> str:
    """One network as a line of the table."""
    found = [len(row["wrong"]), len(row["harm"])]
    cells = [name, NETWORKS[name].words, *(row[each] for each in _COUNTS), *found]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as unet; none = all")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = {name: judged(name) for name in given.names or NETWORKS}
    lines = [
        f"| network | what is special | {' | '.join(_COUNTS)} | wrong readers | harm |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for kind in KINDS:
        of_kind = [name for name in rows if kind_of(NETWORKS[name]) == kind]
        lines += [f"| **{kind}** | | | | | | | |"] * bool(of_kind)
        lines += [line(name, rows[name]) for name in of_kind]
    sums = [sum(row[each] for row in rows.values()) for each in _COUNTS]
    found = [sum(len(row[each]) for row in rows.values()) for each in ("wrong", "harm")]
    lines.append(f"| **{len(rows)} networks** | | {' | '.join(map(str, (*sums, *found)))} |")
    print("\n".join(lines))
    if given.out is not None:
        write_results(given.out, {"rows": rows}, lines)


if __name__ == "__main__":
    main()
