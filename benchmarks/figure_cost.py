"""What the study of figure 3 costs: shared and in stacks, against the same trials one by one in plain torch.

    python benchmarks/figure_cost.py --data-dir DIR [--seeds 0 13] [--regions East West] [--out results/figure-cost]

For each seed in turn, in one process of one thread: all trials of the study's region as `regrow run` trains them
(families, forks, checkpoints, stacks), then a random sample of the same trials one by one (`modules`, nothing shared).
Times are processor time; one by one costs the sample's mean times the number of trials. Plain training is in the study
once for every cell and is the same trial each time: it is counted once a seed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from written import write_results

from regrow.lab import data
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.config import Overrides, load_study
from regrow.lab.data import Dataset
from regrow.lab.plan import plan
from regrow.lab.sharing import families
from regrow.lab.trial import Request, train_together
from regrow.study.folder import checkpoint_path
from regrow.study.trials import TrialSpec, of_cells

STUDY = Path("studies/randomout-figure3.toml")


@dataclass
class Spent:
    """What a seed has cost.

    Attributes:
        shared_s: Processor seconds of all its trials, shared and in stacks.
        trained: Epochs of single networks that were trained for it.
        single_s: Processor seconds of each sampled trial in plain torch.
        stack_s: The same trials one by one in a stack.
    """

    shared_s: float
    trained: int
    single_s: list[float]
    stack_s: list[float]


def shared(specs: list[TrialSpec], images: Dataset, folder: Path) -> tuple[float, int]:
    """Train all trials of a seed as the laboratory does: processor seconds and epochs."""
    waiting = [tuple(family) for family in families(specs)]
    epochs = 0

    def file(members: tuple[TrialSpec, ...]) -> CheckpointFile:
        name = members[0].trial
        return CheckpointFile(checkpoint_path(folder, name), trial=name, fingerprint="benchmark")

    def count(*_: object) -> None:
        nonlocal epochs
        epochs += 1

    started = time.process_time()
    while waiting:
        members = waiting.pop()
        train_together(
            [Request(specs=members, checkpoint=file(members))],
            images,
            engine="stack",
            on_fork=waiting.append,
            on_epoch=count,
            on_end=lambda _: None,
        )
    return time.process_time() - started, epochs


def single(spec: TrialSpec, images: Dataset, *, engine: str) -> float:
    """Train one trial alone: processor seconds."""
    started = time.process_time()
    train_together(
        [Request(specs=(spec,))],
        images,
        engine="stack" if engine == "stack" else "modules",
        on_fork=lambda _: None,
        on_epoch=lambda *_: None,
        on_end=lambda _: None,
    )
    return time.process_time() - started


def measure(specs: list[TrialSpec], images: Dataset, *, sample: int, seed: int) -> Spent:
    """One seed: shared, then a sample of its trials one by one in both engines, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, epochs = shared(specs, images, Path(folder))
    acting = [spec for spec in specs if spec.recipe != "none"]
    order = np.random.default_rng(seed).permutation(len(acting))
    chosen = [acting[place] for place in order[:sample]]
    singles = [
        (single(spec, images, engine="modules"), single(spec, images, engine="stack"))
        for spec in chosen
    ]
    return Spent(seconds, epochs, [one for one, _ in singles], [two for _, two in singles])


def distinct(specs: list[TrialSpec]) -> int:
    """Trials of a seed, plain training once."""
    return sum(spec.recipe != "none" for spec in specs) + 1


def row(found: dict[str, Any], *, trials_of_seed: int) -> str:
    """One seed as a row of the table."""
    one, stack = statistics.mean(found["single_s"]), statistics.mean(found["stack_s"])
    alone, asked = one * trials_of_seed, found["asked"]
    return (
        f"| {found['region']}, seed {found['seed']} | {trials_of_seed} | {asked:,} | {found['trained']:,} | "
        f"{found['trained'] / asked:.3f} | {one / stack:.2f} | {alone:,.0f} | {found['shared_s']:,.0f} | "
        f"{alone / found['shared_s']:.1f} |"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--regions", nargs="+", default=["East", "West"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--sample", type=int, default=3, help="trials one by one, a seed")
    parser.add_argument("--out", type=Path, default=Path("results/figure-cost"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(STUDY, Overrides())
    rows, found = [], []
    for region in options.regions:
        every = of_cells(plan(study).trials, [f"data.region={region}"])
        first = every[0]
        images = data.load(first.data.name, settings=first.data.settings, data_dir=options.data_dir)
        single(first, images, engine="modules")  # imports and buffers: not counted
        for seed in options.seeds:
            specs = [spec for spec in every if spec.seed == seed]
            spent = measure(specs, images, sample=options.sample, seed=seed)
            asked = distinct(specs) * first.train.epochs
            found.append({"region": region, "seed": seed, "asked": asked, **vars(spent)})
            rows.append(row(found[-1], trials_of_seed=distinct(specs)))
            print(rows[-1], flush=True)
    lines = [
        "| | trials | network-epochs asked for | trained | share | stack, x modules | one by one (s) | "
        "shared, in stacks (s) | x one by one |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
        *rows,
        "",
        "Processor seconds of one core; one by one: plain torch modules, mean of a sample times the number of trials. "
        "Must 3 times and a share of 0.4, stretch 8 times and 0.25.",
    ]
    write_results(options.out, {"seeds": found}, lines)


if __name__ == "__main__":
    main()
