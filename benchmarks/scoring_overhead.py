"""What scoring costs: ResNet-20 on 32x32 images, batch 128, with and without a recipe attached.

Loops over the same model and batches take turns, a few steps each: plain, attached with a score at every step, attached
with one score an epoch (391 steps; the steps between two checks are what is measured), and plain once more. Each round
gives one ratio to its own plain loop; the table has the median of the ratios, and beside it the time that regrow itself
counts inside its hooks. "plain again" shows how far two equal loops differ on this machine.

    OMP_NUM_THREADS=1 python benchmarks/scoring_overhead.py [--rounds 30] [--steps 1] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from written import write_results

import regrow
from regrow.lab.models import registry as models

BATCH = 128
STEPS_PER_EPOCH = 391  # 50,000 images


class Loop:
    """One model, its optimizer, and perhaps a recipe."""

    def __init__(self, every_epochs: int | None, *, attached: bool) -> None:
        self.model = models.build(
            "resnet20", in_channels=3, image_size=(32, 32), classes=10, settings={}, seed=0
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.regrower = None
        if attached:
            # The threshold is below any living filter's gradient: the cost of looking, without any renewal.
            self.regrower = regrow.attach(
                regrow.RandomOut(threshold=1e-30, active_fraction=1.0, every_epochs=every_epochs),
                self.model,
                self.optimizer,
                example_inputs=torch.zeros(2, 3, 32, 32),
                steps_per_epoch=STEPS_PER_EPOCH,
            )

    def run(self, images: torch.Tensor, labels: torch.Tensor, steps: int) -> list[float]:
        """Times of a few training steps, in seconds."""
        times = []
        for _ in range(steps):
            started = time.perf_counter()
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(images), labels).backward()
            self.optimizer.step()
            times.append(time.perf_counter() - started)
        return times


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    loops = {
        "plain": Loop(None, attached=False),
        "every step": Loop(None, attached=True),
        "every epoch": Loop(1, attached=True),
        "plain again": Loop(None, attached=False),
    }
    times: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        loop.run(images, labels, 2)  # warm-up
    for loop in loops.values():
        if loop.regrower is not None:
            loop.regrower.report.seconds = 0.0
    for _ in range(given.rounds):
        for name, loop in loops.items():
            times[name] += loop.run(images, labels, given.steps)
    base = statistics.median(times["plain"])
    rows = {}
    lines = ["| loop | step (ms) | ratio | inside regrow (% of the step) |", "|:--|--:|--:|--:|"]
    for name, loop in loops.items():
        ratio = statistics.median(
            mine / plain for mine, plain in zip(times[name], times["plain"], strict=True)
        )
        inside = (
            loop.regrower.report.seconds / len(times[name]) if loop.regrower is not None else 0.0
        )
        step = 1e3 * statistics.median(times[name])
        rows[name] = {
            "step_ms": step,
            "ratio": ratio,
            "inside_ms": 1e3 * inside,
            "inside_share": inside / base,
        }
        lines.append(f"| {name} | {step:.1f} | {ratio:.4f} | {100 * inside / base:.3f} |")
    print("\n".join(lines))
    if given.out is not None:
        document = {
            "rows": rows,
            "rounds": given.rounds,
            "steps": given.steps,
            "threads": 1,
        }
        write_results(given.out, document, lines)


if __name__ == "__main__":
    main()
