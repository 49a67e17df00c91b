"""What a guard and KeepAlive cost in training: every step, its look included.

Loops over equal models and equal batches take turns, one step each, in an order that changes from round to round; the
time is the process's processor time. Each round gives every loop one ratio to the plain loop; the table has the median
ratio and a 95 % bootstrap interval of it. "plain again" is what this machine makes of two equal loops. Beside it, as in
`activity_cost.py`: the time spent inside regrow, in percent of the plain step, which the machine disturbs least.

* guard: `regrow.StepLimit()` alone
* keepalive: the whole recipe, active in all steps; a look at the passes of one window in 100 steps is among them

    OMP_NUM_THREADS=1 python benchmarks/keepalive_cost.py [--rounds 200] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from activity_cost import timed_step
from idle_cost import interval, resnet20
from torch import Tensor, nn
from written import write_results

import regrow
from regrow.lab.models import registry as models

WARM_UP = 6
VARIANTS: dict[str, Callable[[], Any]] = {
    "plain": lambda: None,
    "guard": regrow.StepLimit,
    "keepalive": lambda: regrow.KeepAlive(active_fraction=1.0),
    "plain again": lambda: None,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A model, its batch and its optimizer, and how many rounds of it are one round of the smallest."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    share: float = 1.0


def crater() -> nn.Module:
    """The paper's network."""
    return models.build(
        "cratercnn",
        in_channels=1,
        image_size=(15, 15),
        classes=2,
        settings={"filters": 20, "dense": 500, "init": "kaiming_normal"},
        seed=0,
    )


def mlp() -> nn.Module:
    """784-300-150-10."""
    torch.manual_seed(0)
    wide, narrow = (nn.Linear(784, 300), nn.ReLU()), (nn.Linear(300, 150), nn.ReLU())
    return nn.Sequential(*wide, *narrow, nn.Linear(150, 10))


def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """With momentum."""
    return torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """As it is by default."""
    return torch.optim.Adam(parameters, lr=1e-5)


IMAGES, PATCHES = (128, 3, 32, 32), (64, 1, 15, 15)
CASES = (
    Case(
        name="ResNet-20, 128 x 32x32, SGD",
        build=resnet20,
        shape=IMAGES,
        optimizer=sgd,
        share=0.3,
    ),
    Case(
        name="ResNet-20, 128 x 32x32, Adam",
        build=resnet20,
        shape=IMAGES,
        optimizer=adam,
        share=0.3,
    ),
    Case(name="craters, 64 x 15x15, SGD", build=crater, shape=PATCHES, optimizer=sgd),
    Case(name="craters, 64 x 15x15, Adam", build=crater, shape=PATCHES, optimizer=adam),
    Case(name="MLP, 1 x 784, SGD", build=mlp, shape=(1, 784), optimizer=sgd),
    Case(name="MLP, 1 x 784, Adam", build=mlp, shape=(1, 784), optimizer=adam),
)


class Loop:
    """One model, its optimizer, and perhaps what is attached to them."""

    def __init__(self, case: Case, what: Any) -> None:
        self.model = case.build()
        self.optimizer = case.optimizer(list(self.model.parameters()))
        if what is not None:
            example = torch.zeros(2, *case.shape[1:])
            regrow.attach(what, self.model, self.optimizer, example_inputs=example)

    def step(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Train one step, timed."""
        return timed_step(self.model, self.optimizer, images, labels)


def measure(case: Case, rounds: int) -> list[dict[str, Any]]:
    """The rows of one case."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(case.shape, generator=generator)
    labels = torch.randint(0, 2, (case.shape[0],), generator=generator)
    loops = {name: Loop(case, what()) for name, what in VARIANTS.items()}
    for loop in loops.values():
        for _ in range(WARM_UP):
            loop.step(images, labels)
    times: dict[str, list[float]] = {name: [] for name in loops}
    inside: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for number in range(max(2, round(rounds * case.share))):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            whole, own = loops[name].step(images, labels)
            times[name].append(whole)
            inside[name].append(own)
    plain = statistics.median(times["plain"])
    rows: list[dict[str, Any]] = []
    for name, mine in times.items():
        ratios = [one / other for one, other in zip(mine, times["plain"], strict=True)]
        rows.append(
            {
                "case": case.name,
                "loop": name,
                "rounds": len(ratios),
                "step_ms": 1e3 * statistics.median(mine),
                "ratio": statistics.median(ratios),
                "ratio_interval": interval(ratios),
                "inside_percent": 100 * statistics.mean(inside[name]) / plain,
            }
        )
    return rows


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for case in CASES for row in measure(case, given.rounds)]
    lines = [
        "| network, batch, optimizer | loop | step (ms) | ratio | inside regrow (% of a plain step) |",
        "|:--|:--|--:|--:|--:|",
    ]
    for row in rows:
        low, high = row["ratio_interval"]
        lines.append(
            f"| {row['case']} | {row['loop']} | {row['step_ms']:.2f} | {row['ratio']:.3f} ({low:.3f} to {high:.3f}) "
            f"| {row['inside_percent']:.2f} |"
        )
    print("\n".join(lines))
    if given.out is not None:
        write_results(given.out, {"rows": rows, "threads": 1}, lines)


if __name__ == "__main__":
    main()
