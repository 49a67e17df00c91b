"""Whether a recipe renews who is well, and finds who is dead: small trainings in which gradients tell neither.

Each situation (tests/harm) trains a small network, in many of them with units that are killed by hand: weight 0, and
bias or norm shift -100 before an activation. An oracle that does not use regrow says with the weights right before each
renewal what the renewed unit was: a float64 pass over the whole training set, norms in training mode, without dropout
and stochastic depth.

* living: gives two different values on at least 2 % of the training set; none may be renewed
* rare: on fewer
* dead: one value to all; every killed unit must be renewed within 10 steps of 32 examples or more, within 110 where a
  penalty hides it, and within the steps of 300 examples and one more where batches are smaller. A recipe that looks
  every five steps has until its next look
* blocked, starved: behind a factor of 0, or hearing a constant; none may be renewed, and the report names them

confirm='gradient' is the method as published, for comparison. The other recipes have rules of their own, and what they
renew is counted.

    OMP_NUM_THREADS=1 python benchmarks/no_harm.py [--out FOLDER] [--only SITUATION ...] [--recipe RECIPE ...]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from written import write_results

# The situations, the oracle and the judge lie beside the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harm.judge import Row, judge
from harm.recipes import CONTROL, DEFAULT, RECIPES
from harm.situations import SITUATIONS
from harm.training import train

GRADIENT = "RandomOut(confirm='gradient')"
KINDS = ("living", "rare", "dead", "blocked", "starved")


def measure(situations: Sequence[str], recipes: Sequence[str]) -> list[Row]:
    """All rows, situation by situation; the random control replays the default's renewals."""
    rows: list[Row] = []
    for name in situations:
        for recipe in recipes:
            situation, case = SITUATIONS[name], RECIPES[recipe]
            replayed = train(situation, RECIPES[DEFAULT]).events if recipe == CONTROL else ()
            row = judge(situation, recipe, case, replayed)
            rows.append(row)
            print(f"{name}, {recipe}: {'; '.join(row['faults']) or told(row)}", flush=True)
    return rows


def told(row: Row) -> str:
    """What was renewed, in words."""
    if "refused" in row:
        return row["refused"]
    renewed = [f"{row[f'{kind}_renewed']} {kind}" for kind in KINDS if row[f"{kind}_renewed"]]
    return f"renewed {', '.join(renewed) or 'nobody'}"


def by_recipe(rows: Sequence[Row]) -> Iterator[str]:
    """The table of recipes."""
    yield (
        "| recipe | rule | situations | living renewed | rare | dead | blocked | starved | killed | found "
        "| in time | steps to find: median, largest | left dead | not named | wrongly named |"
    )
    yield "|:--|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|:--|--:|--:|--:|"
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        mine = [row for row in rows if row["recipe"] == recipe and "refused" not in row]
        kills = [kill for row in mine for kill in row["kills"]]
        after = [kill["after"] for kill in kills if kill["after"] is not None]
        late = [kill for kill in kills if kill["after"] is None or kill["after"] > kill["limit"]]
        cells: list[Any] = [f"`{recipe}`", RULES[RECIPES[recipe].rule], len(mine)]
        cells += [f"{sum(row[f'{kind}_renewed'] for row in mine):,}" for kind in KINDS]
        cells += [len(kills), len(after), len(kills) - len(late)]
        cells += [f"{statistics.median(after):g}, {max(after)}" if after else ""]
        named = RECIPES[recipe].rule == "death"
        cells += [sum(len(row["left_dead"]) for row in mine)]
        cells += [sum(len(row[each]) for row in mine) if named else "" for each in NAMINGS]
        yield f"| {' | '.join(map(str, cells))} |"


RULES = {"death": "death", "gradient": "gradient, as published", "own": "its own"}
NAMINGS = ("unnamed", "misnamed")


def by_situation(rows: Sequence[Row]) -> Iterator[str]:
    """The table of situations: the units as the first row has them, then all recipes whose rule is death."""
    yield (
        "| situation | | living | rare | dead | blocked | starved | killed at step | found after "
        "| living renewed, all forms | rare, all forms | living renewed with `confirm='gradient'` |"
    )
    yield "|:--|:--|--:|--:|--:|--:|--:|:--|:--|--:|--:|--:|"
    for name in dict.fromkeys(row["situation"] for row in rows):
        mine = [row for row in rows if row["situation"] == name and "refused" not in row]
        dying = [row for row in mine if row["rule"] == "death"]
        if not dying:
            continue
        cells: list[Any] = [f"`{name}`", SITUATIONS[name].about.rstrip(".")]
        cells += [dying[0][kind] for kind in KINDS]
        cells += [", ".join(str(kill["step"]) for kill in dying[0]["kills"])]
        cells += [", ".join(spread(dying, n) for n in range(len(dying[0]["kills"])))]
        cells += [sum(row[f"{kind}_renewed"] for row in dying) for kind in ("living", "rare")]
        old = [row["living_renewed"] for row in mine if row["recipe"] == GRADIENT]
        cells += [f"{old[0]:,}" if old else ""]
        yield f"| {' | '.join(map(str, cells))} |"


def spread(rows: Sequence[Row], number: int) -> str:
    """After how many steps a killed unit was found, over recipes."""
    if not rows[0]["kills"][number]["judged"]:
        return "not judged, and said"
    after = [row["kills"][number]["after"] for row in rows]
    known = sorted(each for each in after if each is not None)
    if not known:
        return "never"
    text = f"{known[0]} to {known[-1]}" if known[0] < known[-1] else str(known[0])
    missing = len(after) - len(known)
    return f"{text} (not by {missing} of {len(after)})" if missing else text


def faulty(rows: Sequence[Row]) -> Iterator[str]:
    """What must not be, one line a fault."""
    for row in rows:
        for fault in row["faults"]:
            yield f"- `{row['situation']}`, `{row['recipe']}`: {fault}"


def page(rows: Sequence[Row]) -> list[str]:
    """The tables."""
    situations = len({row["situation"] for row in rows})
    faults, refused = list(faulty(rows)), [row for row in rows if "refused" in row]
    lines = [f"{situations} situations; {len(rows)} trainings; {len(faults)} faults.", ""]
    lines += [*by_recipe(rows), ""]
    lines += [
        "Living, rare, dead, blocked, starved renewed: filters counted as often as they were renewed. "
        "Left dead: dead for longer than the limit at the end, whoever killed them.",
        "",
    ]
    lines += [f"- `{row['situation']}`, `{row['recipe']}`: {row['refused']}" for row in refused]
    lines += [""] * bool(refused) + [*by_situation(rows), ""]
    lines += [
        "Units: when the last one has been killed, in the default's training. Found after, and all forms: over all "
        "recipes whose rule is death."
    ]
    return [*lines, *(["", "Faults:", "", *faults] if faults else [])]


def main() -> int:
    """Judge, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="+", choices=SITUATIONS, metavar="SITUATION")
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, metavar="RECIPE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(given.only or list(SITUATIONS), given.recipe or list(RECIPES))
    lines = page(rows)
    print("\n".join(lines))
    if given.out is not None:
        about = {name: each.about for name, each in SITUATIONS.items()}
        write_results(given.out, {"situations": about, "rows": rows}, lines)
    return 1 if any(row["faults"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
