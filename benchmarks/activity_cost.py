"""What it costs to read the training's passes: ResNet-20, batch 128, one thread.

Loops over equal models and equal batches take turns, one step each, in an order that changes from round to round; the
time is the process's processor time. Each round gives every loop one ratio to the plain loop of that round; the table
has the median ratio and a 95 % bootstrap interval of it. "plain again" is what this machine makes of two equal loops.

* idle: RandomOut as it is by default, checked at every step, its looks included
* silence: every layer is watched in every step
* sums: means, mean sizes and shares of positive values of every layer in every step
* sums, every 4: in one of four steps

    OMP_NUM_THREADS=1 python benchmarks/activity_cost.py [--rounds 60] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from idle_cost import interval, resnet20
from torch import nn
from written import write_results

import regrow
from regrow._shapes import Scores
from regrow.criteria import CriterionState, Liveness, Observation, Signal

BATCH: Final = 128
WARM_UP: Final = 2
LIMITS: Final = {"idle": 1.005, "silence": 1.02, "sums": 1.06, "sums, every 4": 1.02}


@dataclasses.dataclass(frozen=True)
class Sums:
    """Asks for everything that is read, and concludes nothing."""

    every_step = True
    scale_invariant = True
    needs = frozenset({Signal.ACTIVITY})

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Nothing is remembered."""
        del observation
        return state

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """No score."""
        del layer, count, step, seed
        return state, None


class Loop:
    """One model, its optimizer, and perhaps a recipe."""

    def __init__(self, recipe: regrow.Recipe | None, *, every: int = 1) -> None:
        self.model = resnet20()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)
        if recipe is not None:
            example = torch.zeros(2, 3, 32, 32)
            regrow.attach(
                recipe, self.model, self.optimizer, example_inputs=example, activity_every=every
            )

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Train one step, and give its processor time in seconds."""
        started = time.process_time()
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(images), labels).backward()
        self.optimizer.step()
        return time.process_time() - started


def loops() -> dict[str, Callable[[], Loop]]:
    """What is compared."""
    randomout = regrow.RandomOut(active_fraction=1.0)
    watched = dataclasses.replace(randomout, criterion=Liveness(threshold=1e-8, look_every=1))
    sums = dataclasses.replace(randomout, criterion=Sums())
    return {
        "plain": lambda: Loop(None),
        "idle": lambda: Loop(randomout),
        "silence": lambda: Loop(watched),
        "sums": lambda: Loop(sums),
        "sums, every 4": lambda: Loop(sums, every=4),
        "plain again": lambda: Loop(None),
    }


def measure(rounds: int) -> list[dict[str, Any]]:
    """The rows of the table."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    made = {name: make() for name, make in loops().items()}
    for loop in made.values():
        for _ in range(WARM_UP):
            loop.step(images, labels)
    times: dict[str, list[float]] = {name: [] for name in made}
    names = list(made)
    for number in range(rounds):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            times[name].append(made[name].step(images, labels))
    rows: list[dict[str, Any]] = []
    for name, mine in times.items():
        ratios = [one / plain for one, plain in zip(mine, times["plain"], strict=True)]
        # Of a loop that works in one step of several, the mean of each round of those is what counts.
        rows.append(
            {
                "loop": name,
                "rounds": rounds,
                "step_ms": 1e3 * statistics.median(mine),
                "ratio": _grouped(ratios, 4 if name.endswith("4") else 1),
                "ratio_interval": interval(_groups(ratios, 4 if name.endswith("4") else 1)),
                "limit": LIMITS.get(name),
            }
        )
    return rows


def _groups(ratios: list[float], size: int) -> list[float]:
    whole = len(ratios) // size * size
    return [statistics.mean(ratios[at : at + size]) for at in range(0, whole, size)]


def _grouped(ratios: list[float], size: int) -> float:
    return statistics.median(_groups(ratios, size))


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(given.rounds)
    lines = ["| loop | step (ms) | ratio | target |", "|:--|--:|--:|--:|"]
    for row in rows:
        low, high = row["ratio_interval"]
        limit = "" if row["limit"] is None else f"{row['limit']:.3f}"
        lines.append(
            f"| {row['loop']} | {row['step_ms']:.1f} | {row['ratio']:.3f} ({low:.3f} to {high:.3f}) | {limit} |"
        )
    print("\n".join(lines))
    if given.out is not None:
        write_results(given.out, {"rows": rows, "threads": 1, "batch": BATCH}, lines)


if __name__ == "__main__":
    main()
