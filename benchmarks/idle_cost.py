"""What an attached recipe costs in the steps in which nothing is due.

Loops over equal models and equal batches take turns, one step each, in an order that changes from round to round. The
time is the process's processor time, which a busy machine disturbs least. Each round gives every loop one ratio to the
plain loop of that round; the table has the median ratio and a 95 % bootstrap interval of it. "plain again" is a second
loop without regrow: what this machine makes of two equal loops.

regrow acts in the hooks of `optimizer.step()` alone. What is added there is therefore measured for itself too, as the
median difference between this call and the plain loop's in the same round, in percent of a whole training step: a
figure without the noise of the forward and the backward pass.

* between checks: attached with one check an epoch, measured in the steps between two checks
* after its end: attached, and the active part of the recipe is over
* after renewals: the same, and one filter of every layer was renewed before. Adam's step count is shared by a whole
  tensor, so that renewed entries are corrected in each step until they are old; that is work which is due

    OMP_NUM_THREADS=1 python benchmarks/idle_cost.py [--rounds 300] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from written import write_results

import regrow
from regrow.lab.models import registry as models
from regrow.schedule import Every
from regrow.selection import CountsOf

WARM_UP = 6
RENEWED_AT = 1  # the step in which the last variant renews
EPOCH = 10**6  # no check falls into what is measured
LIMIT = 1.0
"""Percent of a step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A model with its batch, and how many rounds of it are one round of the smallest."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, int, int, int]
    share: float


def small_cnn() -> nn.Module:
    """Two convolutions and a linear layer, in which every filter works: of other seeds one is dead, and is renewed."""
    torch.manual_seed(1)
    first = (nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32 * 16, 10))


def resnet20() -> nn.Module:
    """The laboratory's."""
    return models.build(
        "resnet20", in_channels=3, image_size=(32, 32), classes=10, settings={}, seed=0
    )


CASES = (
    Case(name="small CNN, 64 x 28x28", build=small_cnn, shape=(64, 1, 28, 28), share=1.0),
    Case(name="ResNet-20, 32 x 32x32", build=resnet20, shape=(32, 3, 32, 32), share=0.4),
)
OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "SGD": lambda model: torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9),
    "Adam": lambda model: torch.optim.Adam(model.parameters(), lr=1e-6),
}
VARIANTS = ("plain", "between checks", "after its end", "after renewals", "plain again")


class Loop:
    """One model, its optimizer, and perhaps a recipe."""

    def __init__(self, case: Case, optimizer: str, variant: str) -> None:
        self.model = case.build()
        self.optimizer = OPTIMIZERS[optimizer](self.model)
        self.regrower: regrow.Regrower | None = None
        if variant.startswith("plain"):
            return
        recipe = regrow.RandomOut(threshold=0.0, active_fraction=1.0, every_epochs=1)
        total, epoch = None, EPOCH
        if variant != "between checks":
            recipe = recipe.with_parts(when=Every(active_fraction=0.5))
            total = 2 * (RENEWED_AT + 1)
        wiring = regrow.trace(self.model, torch.zeros(2, *case.shape[1:]))
        if variant == "after renewals":
            paths = [layer.path for layer in wiring.renewable(layers=("conv",))]
            counts = {(RENEWED_AT, path): 1 for path in paths}
            recipe = recipe.with_parts(select=CountsOf(counts=counts))
        self.regrower = regrow.attach(
            recipe,
            self.model,
            self.optimizer,
            wiring=wiring,
            total_steps=total,
            steps_per_epoch=epoch,
        )

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        """Train one step, and give the processor time of it and of its `optimizer.step()`, in seconds."""
        started = time.process_time()
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(images), labels).backward()
        there = time.process_time()
        self.optimizer.step()
        ended = time.process_time()
        return ended - started, ended - there


def interval(values: list[float], *, draws: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap of the median, 95 %."""
    dice = random.Random(0)  # noqa: S311 # a bootstrap, no secret
    found = sorted(statistics.median(dice.choices(values, k=len(values))) for _ in range(draws))
    return found[int(0.025 * draws)], found[int(0.975 * draws)]


def measure(case: Case, optimizer: str, rounds: int) -> list[dict[str, Any]]:
    """The rows of one model and one optimizer."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(*case.shape, generator=generator)
    labels = torch.randint(0, 10, case.shape[:1], generator=generator)
    loops = {variant: Loop(case, optimizer, variant) for variant in VARIANTS}
    for loop in loops.values():
        for _ in range(WARM_UP):
            loop.step(images, labels)
        if loop.regrower is not None:
            loop.regrower.report.seconds = 0.0
    checks = {name: loop.regrower.report.checks for name, loop in loops.items() if loop.regrower}
    times: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        turn = number % len(VARIANTS)
        for variant in (*VARIANTS[turn:], *VARIANTS[:turn]):
            times[variant].append(loops[variant].step(images, labels))
    whole = statistics.median(step for step, _ in times["plain"])
    rows: list[dict[str, Any]] = []
    for variant, loop in loops.items():
        pairs = list(zip(times[variant], times["plain"], strict=True))
        ratios = [mine[0] / plain[0] for mine, plain in pairs]
        added = [100 * (mine[1] - plain[1]) / whole for mine, plain in pairs]
        inside, renewed = 0.0, 0
        if loop.regrower is not None:
            assert loop.regrower.report.checks == checks[variant]  # nothing was due
            inside, renewed = loop.regrower.report.seconds / rounds, loop.regrower.report.renewed
        rows.append(
            {
                "model": case.name,
                "optimizer": optimizer,
                "loop": variant,
                "renewed": renewed,
                "rounds": rounds,
                "step_ms": 1e3 * statistics.median(step for step, _ in times[variant]),
                "ratio": statistics.median(ratios),
                "ratio_interval": interval(ratios),
                "added_percent": statistics.median(added),
                "added_interval": interval(added),
                "inside_us": 1e6 * inside,
            }
        )
    return rows


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    low, high = row["ratio_interval"]
    least, most = row["added_interval"]
    return (
        f"| {row['model']} | {row['optimizer']} | {row['loop']} | {row['step_ms']:.1f} | "
        f"{row['ratio']:.3f} ({low:.3f} to {high:.3f}) | "
        f"{row['added_percent']:.2f} ({least:.2f} to {most:.2f}) | {row['inside_us']:.0f} |"
    )


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row
        for case in CASES
        for optimizer in OPTIMIZERS
        for row in measure(case, optimizer, max(5, round(given.rounds * case.share)))
    ]
    lines = [
        "| model | optimizer | loop | step (ms) | ratio | added in optimizer.step() (% of a step) "
        "| inside regrow (us) |",
        "|:--|:--|:--|--:|--:|--:|--:|",
        *map(line, rows),
    ]
    print("\n".join(lines))
    idle = [row for row in rows if row["loop"] in {"between checks", "after its end"}]
    within = [row for row in idle if row["added_interval"][1] <= LIMIT]
    print(f"{len(within)} of {len(idle)} idle loops add at most {LIMIT:g} %")
    if given.out is not None:
        document = {
            "rows": rows,
            "threads": 1,
        }
        write_results(given.out, document, lines)


if __name__ == "__main__":
    main()
