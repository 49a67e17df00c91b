"""What RePr costs: scoring, dropping and bringing back, and a step while filters are out.

**A cycle**: ResNet-50 (torchvision, random weights, 26,560 filters in 53 layers), 30 % of the filters. Two selections:
by overlap, as the recipe does, which takes the short filters of a fresh network; and 30 % of every layer, where each
layer has to be renewed. Timed by the wall clock in a process of its own for each number of threads: scoring (overlap of
all layers, ranking), dropping (zeros in the model and in the optimizer's memory), bringing back (old values, orthogonal
directions, optimizer state). The table has medians and the range over the repetitions, and the processor time of all
together, which with one thread does not depend on what else the machine does.

**A step**: loops with and without filters out take turns, one step each, as in `idle_cost.py`. regrow acts in
`optimizer.step()` and in the hooks of gradients; the whole time that it spends there is measured by itself, with the
clock of the process, as a share of the plain loop's whole step: a figure without the noise of the forward and the
backward pass. The ratio of whole steps stands beside it.

    python benchmarks/repr_cost.py [--repeat 7] [--rounds 60] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from idle_cost import interval, resnet20
from torch import Tensor, nn
from written import write_results

import regrow
from regrow.selection.masks import lowest

sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")  # not here, where zoo.py is
from zoo.nets import torchvision  # noqa: E402

FRACTION = 0.3
LIMIT_SECONDS = 2.0
LIMIT_PERCENT = 2.0
OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "SGD": lambda model: torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9),
    "Adam": lambda model: torch.optim.Adam(model.parameters(), lr=1e-6),
}
PARTS = ("score", "drop", "bring back")


@dataclasses.dataclass(frozen=True)
class OfEveryLayer:
    """The share of each layer, instead of the share of the network."""

    fraction: float

    def __call__(
        self, scores: Mapping[str, Tensor], *, eligible: Mapping[str, Tensor], step: int
    ) -> dict[str, Tensor]:
        """Mark it."""
        del eligible, step
        return {
            layer: lowest(values, count=int(self.fraction * len(values)))
            for layer, values in scores.items()
        }

    def check(self, counts: Mapping[str, int]) -> None:
        """Any network."""


def resnet50() -> nn.Module:
    """torchvision's, with random weights."""
    torch.manual_seed(0)
    return torchvision().models.resnet50(weights=None)


def recipe(selection: str, **settings: Any) -> regrow.Recipe:
    """RePr, by overlap or with the share of every layer."""
    whole = regrow.RePr(fraction=FRACTION, unit="steps", **settings)
    if selection == "overlap":
        return whole
    return whole.with_parts(select=OfEveryLayer(FRACTION))


def cycle(selection: str, optimizer: str, repeat: int) -> dict[str, Any]:
    """Times of each part of a cycle, in seconds."""
    model = resnet50()
    chosen = OPTIMIZERS[optimizer](model)
    regrower = regrow.attach(
        recipe(selection, s1=1, s2=1, cycles=repeat + 1),
        model,
        chosen,
        example_inputs=torch.zeros(1, 3, 64, 64),
        hooks=False,
    )
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-6)
    chosen.step()  # the optimizer has its state
    stepper = regrower._stepper
    watch = stepper.watches[0]
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    processor: list[float] = []
    dropped = 0
    for _ in range(repeat + 1):
        began = time.process_time()
        for ready, made in (("score", "drop"), (None, "bring back")):
            started = time.perf_counter()
            stepper.gradients_ready(watch)
            between = time.perf_counter()
            stepper.step_made(watch)
            ended = time.perf_counter()
            if ready is not None:
                times[ready].append(between - started)
                dropped = sum(map(len, regrower.report.resting.values()))
            times[made].append(ended - between)
        processor.append(time.process_time() - began)
    spent = {part: values[1:] for part, values in times.items()}  # without the first cycle
    spent["all"] = [sum(each) for each in zip(*spent.values(), strict=True)]
    return {
        "selection": selection,
        "optimizer": optimizer,
        "threads": torch.get_num_threads(),
        "filters": sum(regrower.report.layers.values()),
        "layers": len(regrower.report.layers),
        "dropped": dropped,
        "repeat": repeat,
        "processor_seconds": statistics.median(processor[1:]),
        "seconds": {part: statistics.median(values) for part, values in spent.items()},
        "least": {part: min(values) for part, values in spent.items()},
        "most": {part: max(values) for part, values in spent.items()},
    }


class Clocked:
    """Adds up the processor time of a method; what is called inside of another clocked one is not counted twice."""

    inside = False

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner = inner
        self.seconds = 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        if Clocked.inside:
            return self.inner(*args, **kwargs)
        Clocked.inside = True
        started = time.process_time()
        try:
            return self.inner(*args, **kwargs)
        finally:
            self.seconds += time.process_time() - started
            Clocked.inside = False


class Loop:
    """One model, its optimizer, and perhaps filters that are out."""

    def __init__(
        self, build: Callable[[], nn.Module], optimizer: str, size: int, *, out: bool
    ) -> None:
        self.model = build()
        self.optimizer = OPTIMIZERS[optimizer](self.model)
        self.clocks: list[Clocked] = []
        if not out:
            return
        self.regrower = regrow.attach(
            recipe("every layer", s1=1, s2=10**6, cycles=1),
            self.model,
            self.optimizer,
            example_inputs=torch.zeros(2, 3, size, size),
        )
        # What is called in a step: by the optimizer, and (for gradients that have just come) by autograd.
        for name in ("gradients_ready", "step_made"):
            self._clock(self.regrower._stepper, name)
        self._clock(self.regrower._stepper.drop.absent.zeros, "_clear")

    def _clock(self, owner: object, name: str) -> None:
        clock = Clocked(getattr(owner, name))
        setattr(owner, name, clock)
        self.clocks.append(clock)

    def step(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Processor time of one training step, and of what regrow did in it."""
        before = self.inside()
        started = time.process_time()
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(images), labels).backward()
        self.optimizer.step()
        return time.process_time() - started, self.inside() - before

    def inside(self) -> float:
        """All processor time inside regrow so far."""
        return sum(clock.seconds for clock in self.clocks)


CASES: dict[str, tuple[Callable[[], nn.Module], int, int, float]] = {
    "ResNet-20, 128 x 32x32": (resnet20, 128, 32, 0.5),
    "ResNet-50, 8 x 128x128": (resnet50, 8, 128, 0.3),
}


def steps(case: str, optimizer: str, rounds: int) -> dict[str, Any]:
    """What filters that are out cost in each step."""
    build, batch, size, share = CASES[case]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator)
    labels = torch.randint(0, 10, (batch,), generator=generator)
    plain, out = (Loop(build, optimizer, size, out=each) for each in (False, True))
    for loop in (plain, out):
        for _ in range(3):
            loop.step(images, labels)
    rounds = max(5, round(share * rounds))
    times: dict[str, list[tuple[float, float]]] = {"plain": [], "out": []}
    for number in range(rounds):
        pair = [("plain", plain), ("out", out)]
        for name, loop in pair if number % 2 else reversed(pair):
            times[name].append(loop.step(images, labels))
    whole = statistics.median(step for step, _ in times["plain"])
    ratios = [mine[0] / other[0] for mine, other in zip(times["out"], times["plain"], strict=True)]
    added = [100 * inside / whole for _, inside in times["out"]]
    return {
        "model": case,
        "optimizer": optimizer,
        "rounds": rounds,
        "out": sum(map(len, out.regrower.report.resting.values())),
        "step_ms": 1e3 * whole,
        "ratio": statistics.median(ratios),
        "ratio_interval": interval(ratios),
        "added_percent": statistics.median(added),
        "added_interval": interval(added),
    }


def measured(kind: str, what: str, optimizer: str, *given: str) -> dict[str, Any]:
    """In a process of its own."""
    command = [sys.executable, __file__, "--one", kind, what, optimizer, *given]
    # Threads that wait for each other let others run: on a machine that is busy they would wait for long otherwise.
    passive = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=passive)  # noqa: S603 # ours
    return json.loads(done.stdout.splitlines()[-1])


def tables(cycles: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
    """Both, for people."""
    lines = [
        "| 30 % of ResNet-50 | optimizer | threads | filters | score (s) | drop (s) | bring back (s) | all (s) "
        "| processor (s) |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in cycles:
        cells = (
            f"{row['seconds'][part]:.2f} ({row['least'][part]:.2f} to {row['most'][part]:.2f})"
            for part in (*PARTS, "all")
        )
        lines.append(
            f"| {row['selection']} | {row['optimizer']} | {row['threads']} | {row['dropped']} of {row['filters']} | "
            + " | ".join(cells)
            + f" | {row['processor_seconds']:.2f} |"
        )
    lines += [
        "",
        "| a step with 30 % of every layer out | optimizer | plain step (ms) | inside regrow (% of a step) | ratio |",
        "|:--|:--|--:|--:|--:|",
    ]
    for row in found:
        low, high = row["added_interval"]
        least, most = row["ratio_interval"]
        lines.append(
            f"| {row['model']} | {row['optimizer']} | {row['step_ms']:.0f} | {row['added_percent']:.2f} "
            f"({low:.2f} to {high:.2f}) | {row['ratio']:.3f} ({least:.3f} to {most:.3f}) |"
        )
    return lines


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=3, metavar=("KIND", "WHAT", "OPTIMIZER"))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.one is not None:
        torch.set_num_threads(given.threads)
        kind, what, optimizer = given.one
        one = (
            cycle(what, optimizer, given.repeat)
            if kind == "cycle"
            else steps(what, optimizer, given.rounds)
        )
        print(json.dumps(one))
        return
    cycles = [
        measured("cycle", what, optimizer, "--threads", str(threads), "--repeat", str(given.repeat))
        for threads in (1, 2)
        for what in ("overlap", "every layer")
        for optimizer in OPTIMIZERS
    ]
    found = [
        measured("steps", case, optimizer, "--rounds", str(given.rounds))
        for case in CASES
        for optimizer in OPTIMIZERS
    ]
    lines = tables(cycles, found)
    print("\n".join(lines))
    fast = [row for row in cycles if row["threads"] == 2 and row["seconds"]["all"] < LIMIT_SECONDS]
    cheap = [row for row in found if row["added_interval"][1] <= LIMIT_PERCENT]
    print(
        f"{len(fast)} of {len(cycles) // 2} cycles on two threads take under {LIMIT_SECONDS:g} s; "
        f"{len(cheap)} of {len(found)} loops spend at most {LIMIT_PERCENT:g} % of a step"
    )
    if given.out is not None:
        document = {
            "cycles": cycles,
            "steps": found,
        }
        write_results(given.out, document, lines)


if __name__ == "__main__":
    main()
