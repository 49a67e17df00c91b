"""What it costs to read the training's passes: ResNet-20, batch 128, one thread.

Loops over equal models and equal batches take turns, one step each, in an order that changes from round to round; the
time is the process's processor time. Two equal loops differ by one or two per cent for as long as they live, by where
their memory lies: so there are several of each kind. Each round gives every kind one ratio, the time of its loops to
that of the plain ones in that round; the table has the median ratio and a 95 % bootstrap interval of it. "plain again"
is what this machine makes of two equal kinds.

That is still more than what is to be measured. So the time that is spent inside regrow is taken as well, by
the clock of the processor around everything through which training comes into it (the calls of modules and functions
that are watched, the end of a pass, the hooks of the optimizer), and is given in percent of the plain step. It lacks
what a call of a function costs that is shown to regrow and not read, about 2 us each.

* idle: RandomOut as it is by default, checked at every step, its looks included
* silence: every layer is watched in every step
* sums: means, mean sizes and shares of positive values of every layer in every step
* sums, every 4: in one of four steps

    OMP_NUM_THREADS=1 python benchmarks/activity_cost.py [--rounds 100] [--loops 2] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from idle_cost import interval, resnet20
from torch import nn
from written import write_results

import regrow
from regrow._shapes import Scores
from regrow.activity import ActivityMeter, call_table
from regrow.criteria import CriterionState, Liveness, Observation, Signal
from regrow.loop.optimizers import OptimizerWatch

BATCH: Final = 128
WARM_UP: Final = 2  # of the 100 steps behind it one has a look
LIMITS: Final = {"idle": 1.005, "silence": 1.02, "sums": 1.06, "sums, every 4": 1.02}


@dataclasses.dataclass(frozen=True)
class Sums:
    """Asks for everything that is read, and concludes nothing."""

    every_step = True
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

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        """Train one step, and give the processor time of it, and of regrow in it, in seconds."""
        return timed_step(self.model, self.optimizer, images, labels)


def timed_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> tuple[float, float]:
    """Train one step, and give the processor time of it, and of regrow in it, in seconds."""
    INSIDE.seconds = 0.0
    started = time.process_time()
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    return time.process_time() - started, INSIDE.seconds


class Inside:
    """The time spent in some methods and functions, each of them counted once where they call each other."""

    def __init__(self, *methods: tuple[type | ModuleType, str]) -> None:
        self.seconds = 0.0
        self._depth = 0
        for kind, name in methods:
            setattr(kind, name, self._timed(getattr(kind, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*given: Any, **named: Any) -> Any:
            started = time.process_time()
            self._depth += 1
            try:
                return method(*given, **named)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.process_time() - started

        return timed


INSIDE: Final = Inside(
    (call_table, "_take"),
    (ActivityMeter, "_end_pass"),
    (OptimizerWatch, "_before"),
    (OptimizerWatch, "_after"),
)


def loops() -> dict[str, Callable[[], Loop]]:
    """What is compared."""
    randomout = regrow.RandomOut(active_fraction=1.0)
    watched = randomout.with_parts(criterion=Liveness(threshold=1e-8, look_every=1))
    sums = randomout.with_parts(criterion=Sums())
    return {
        "plain": lambda: Loop(None),
        "idle": lambda: Loop(randomout),
        "silence": lambda: Loop(watched),
        "sums": lambda: Loop(sums),
        "sums, every 4": lambda: Loop(sums, every=4),
        "plain again": lambda: Loop(None),
    }


def measure(rounds: int, *, of_each: int) -> list[dict[str, Any]]:
    """The rows of the table."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    kinds = loops()
    made = [(name, make()) for _ in range(of_each) for name, make in kinds.items()]
    for _, loop in made:
        for _ in range(WARM_UP):
            loop.step(images, labels)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    inside: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds):
        turn = number % len(made)
        this = dict.fromkeys(kinds, (0.0, 0.0))
        for name, loop in (*made[turn:], *made[:turn]):
            whole, own = loop.step(images, labels)
            this[name] = this[name][0] + whole / of_each, this[name][1] + own / of_each
        for name, (whole, own) in this.items():
            times[name].append(whole)
            inside[name].append(own)
    plain_step = statistics.median(times["plain"])
    rows: list[dict[str, Any]] = []
    for name, mine in times.items():
        ratios = [one / plain for one, plain in zip(mine, times["plain"], strict=True)]
        # Of a loop that works in one step of several, the mean of each round of those is what counts.
        rows.append(
            {
                "loop": name,
                "rounds": rounds,
                "loops": of_each,
                "step_ms": 1e3 * statistics.median(mine),
                "ratio": _grouped(ratios, 4 if name.endswith("4") else 1),
                "ratio_interval": interval(_groups(ratios, 4 if name.endswith("4") else 1)),
                "inside_percent": 100 * statistics.mean(inside[name]) / plain_step,
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
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--loops", type=int, default=2, help="of each kind")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(given.rounds, of_each=given.loops)
    lines = [
        "| loop | step (ms) | ratio | inside regrow (% of a plain step) | target (ratio) |",
        "|:--|--:|--:|--:|--:|",
    ]
    for row in rows:
        low, high = row["ratio_interval"]
        limit = "" if row["limit"] is None else f"{row['limit']:.3f}"
        lines.append(
            f"| {row['loop']} | {row['step_ms']:.1f} | {row['ratio']:.3f} ({low:.3f} to {high:.3f}) "
            f"| {row['inside_percent']:.2f} | {limit} |"
        )
    print("\n".join(lines))
    if given.out is not None:
        write_results(given.out, {"rows": rows, "threads": 1, "batch": BATCH}, lines)


if __name__ == "__main__":
    main()
