"""Every piece of advice that `inspect` gives, followed once on networks that have its symptom.

Each network is made, looked at, and branched: one branch trains on as it is, in the other the advice is done, its line
of code run as it is printed; both have the same weights, batches and number of steps. Then both are looked at again.
Networks to which the advice is not given are counted and left out. Where the advice is to leave a network alone, it is
followed by doing nothing, and the other branch does what one might do instead.

A situation that is measured already is not measured again unless it is named.

    OMP_NUM_THREADS=1 python benchmarks/inspect_advice.py [NAME ...] [--seeds N] [--out results/inspect]

Craters are read in the folder named by REGROW_DATA_DIR, else in ../shared/data; without them their rows say so.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from advice_situations import SITUATIONS, Situation
from advice_training import mean_of
from written import write_results

from regrow.errors import RegrowWarning
from regrow.health import RULES
from regrow.study.statistics import is_failed, paired

NOT_HERE = "the data are not here (REGROW_DATA_DIR)"


def measure(situation: Situation, seeds: int) -> dict[str, Any]:
    """All seeds of one situation, seed by seed."""
    data = situation.data()
    row: dict[str, Any] = {"rule": situation.rule, "words": situation.words}
    if data is None:
        return {**row, "skipped": NOT_HERE}
    _, read = situation.shown
    row["seeds"] = seeds
    row["runs"] = []
    started = time.perf_counter()
    for seed in range(seeds):
        begun = situation.made(data, seed)
        before = begun.look(steps=situation.probe)
        if situation.rule not in {each.key for each in before.advice}:
            continue
        torch.manual_seed(seed)  # what a branch draws is the seed's, too
        advised, other = begun.branch(), begun.branch()
        if situation.follow is not None:
            situation.follow(advised)
        elif situation.instead is not None:
            situation.instead[1](other)
        found: dict[str, Any] = {"seed": seed, "before": _plain(read(before))}
        for name, branch in (("advised", advised), ("other", other)):
            found[f"{name}_accuracy"] = branch.go_on()
            after = branch.look(steps=situation.probe)
            found[f"{name}_after"] = _plain(read(after))
            found[f"{name}_given"] = situation.rule in {each.key for each in after.advice}
        row["runs"].append(found)
        row["majority"] = begun.majority if situation.chance else None
    row["seconds"] = time.perf_counter() - started
    return row


def summed_up(row: dict[str, Any]) -> dict[str, Any]:
    """Means, failures, the paired difference and what it says."""
    runs, majority = row["runs"], row.get("majority")
    found: dict[str, Any] = {"n": len(runs)}
    if not runs:
        return found
    for name in ("advised", "other"):
        values = [each[f"{name}_accuracy"] for each in runs]
        found[f"{name}_accuracy"] = mean_of(values)
        found[f"{name}_after"] = mean_of([float(each[f"{name}_after"]) for each in runs])
        found[f"{name}_given"] = sum(each[f"{name}_given"] for each in runs)
        if majority is not None:
            found[f"{name}_failed"] = sum(
                is_failed(each, majority_share=majority) for each in values
            )
    found["before"] = mean_of([float(each["before"]) for each in runs])
    told = paired(
        {each["seed"]: each["advised_accuracy"] for each in runs},
        {each["seed"]: each["other_accuracy"] for each in runs},
        majority_share=majority or 0.0,
    )
    found["difference"], found["low"], found["high"] = told.mean_difference, told.low, told.high
    found["verdict"] = _verdict(told.low, told.high)
    return found


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None or low <= 0 <= high:
        return "no difference shown"
    return "helps" if low > 0 else "HARMS"


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """For people."""
    lines = [
        "| advice | network | given to | what is looked at | before | after, advice followed | after, not followed | "
        "accuracy, followed | not followed | difference (points) | failed, followed | not followed | |",
        "|:--|:--|--:|:--|--:|--:|--:|--:|--:|:--|--:|--:|:--|",
    ]
    titles = {rule.advice.key: rule.advice.title for rule in RULES}
    for name, situation in SITUATIONS.items():
        row = rows.get(name)
        if row is None:
            continue
        told = [f"{titles[situation.rule]} (`{situation.rule}`)", situation.words]
        if "skipped" in row:
            lines.append(f"| {' | '.join(told)} | | skipped: {row['skipped']} | | | | | | | | | |")
            continue
        found = summed_up(row)
        told.append(f"{found['n']}/{row['seeds']}")
        if not found["n"]:
            lines.append(f"| {' | '.join(told)} | nobody had it | | | | | | | | | |")
            continue
        other = "" if situation.instead is None else f" ({situation.instead[0]})"
        told += [
            situation.shown[0],
            _number(found["before"]),
            _number(found["advised_after"]),
            f"{_number(found['other_after'])}{other}",
            f"{100 * found['advised_accuracy']:.1f} %",
            f"{100 * found['other_accuracy']:.1f} %{other}",
            f"{100 * found['difference']:+.1f} [{_points(found['low'])}, {_points(found['high'])}]",
            *(str(found.get(f"{each}_failed", "")) for each in ("advised", "other")),
            found["verdict"],
        ]
        lines.append(f"| {' | '.join(told)} |")
    return lines


def _plain(value: float) -> float | str:
    """JSON knows no nan."""
    return value if math.isfinite(value) else str(value)


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else str(value)


def _points(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f}"


def _stored(out: Path | None) -> dict[str, dict[str, Any]]:
    file = None if out is None else out / "summary.json"
    return json.loads(file.read_text())["rows"] if file is not None and file.is_file() else {}


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*SITUATIONS, []])
    parser.add_argument("--seeds", type=int, help="in place of each situation's own number")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", RegrowWarning)  # what recipes tell of themselves, seed by seed
    rows = _stored(given.out)
    kept = {name for name, row in rows.items() if "skipped" not in row}
    for name in given.names or [each for each in SITUATIONS if each not in kept]:
        rows[name] = measure(SITUATIONS[name], given.seeds or SITUATIONS[name].seeds)
        print(f"{name}: {rows[name].get('seconds', 0):.0f} s", flush=True)
        if given.out is not None:
            ordered = {each: rows[each] for each in SITUATIONS if each in rows}
            write_results(given.out, {"rows": ordered}, table(ordered))
    if given.out is not None:
        write_results(given.out, {"rows": rows}, table(rows))
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
