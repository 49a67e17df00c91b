"""Whether a plain training loop keeps its ability to learn: one network, and new random labels in each task.

400 images (MNIST averaged to 14x14, in [0, 1]) get random labels of ten classes, drawn anew for each task. A network of
two hidden layers of 100 units is trained on them by Adam, 30 epochs of batches of 50. The figure is the accuracy of a
batch before its own update, averaged over a task, and over the last ten tasks; guessing has 10 %.

* none: one network and one optimizer for all tasks
* restart: a fresh network and a fresh optimizer for each task; the only arm that is told when a task begins
* gradient: as none, with RandomOut attached, which redraws a unit when the gradient of a batch does not reach it
* silence: the same, when the unit was silent besides

All arms of a seed start from the same weights and see the same images, labels and batches. Redrawn units are drawn as
the network is, by Kaiming's uniform distribution. A unit counts as dead when it gives the same value on all 400 images
after the last task; that is counted in double precision and without regrow.

Each finished network leaves a file, and one that has its file is not trained again: remove the files (runs/memo400)
when the code has changed. The data are in the folder named by REGROW_DATA_DIR, else in ../shared/data.

    OMP_NUM_THREADS=1 python benchmarks/memo400.py [--seeds 5] [--jobs 1] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from written import write_results

import regrow

Arm = Literal["none", "restart", "gradient", "silence"]
Part = dict[str, Any]
"""What one network leaves: settings, accuracy of each task, renewed units, dead units, seconds."""

ARMS: tuple[Arm, ...] = ("none", "restart", "gradient", "silence")
IMAGES, SIDE, HIDDEN, CLASSES = 400, 14, 100, 10
EPOCHS, BATCH, RATE, THRESHOLD = 30, 50, 3e-3, 1e-8
LAST, FIRST = 10, 5  # tasks at the end and at the start that are averaged
PURPOSES = ("images", "weights", "labels", "orders")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One network to train, and the file that it leaves."""

    arm: Arm
    seed: int
    tasks: int
    part: Path

    @property
    def settings(self) -> dict[str, Any]:
        """What a file that is there must agree with."""
        return {"arm": self.arm, "seed": self.seed, "tasks": self.tasks}


def dice(seed: int, purpose: str, task: int = 0) -> torch.Generator:
    """Random numbers of their own for each seed, purpose and task, whatever an arm draws besides."""
    key = np.random.SeedSequence([seed, PURPOSES.index(purpose), task])
    return torch.Generator().manual_seed(int(key.generate_state(1, np.uint64)[0]) >> 1)


def digits() -> Tensor:
    """MNIST's training images as they are packed, (60000, 28, 28) bytes."""
    told = os.environ.get("REGROW_DATA_DIR")
    folder = Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "data"
    file = folder / "mnist.npz"
    if not file.is_file():
        raise SystemExit(f"{file} is not there; set REGROW_DATA_DIR to the folder with mnist.npz")
    with np.load(file) as packed:
        shape = json.loads(str(packed["meta"]))["train"]["shape"]
        flat = np.frombuffer(lzma.decompress(packed["train_xz"].tobytes()), np.uint8)
    return torch.from_numpy(flat.reshape(shape[:3]).copy())


def images_of(seed: int, everything: Tensor) -> Tensor:
    """The images of a seed, (400, 196) in [0, 1], each value the mean of 2x2 pixels."""
    chosen = torch.randperm(len(everything), generator=dice(seed, "images"))[:IMAGES]
    whole = everything[chosen].float() / 255
    return whole.view(IMAGES, SIDE, 2, SIDE, 2).mean(dim=(2, 4)).flatten(1)


def fresh(seed: int, task: int) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """A network with Kaiming-uniform weights and zero biases, and its Adam."""
    model = nn.Sequential(
        nn.Linear(SIDE * SIDE, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, CLASSES),
    )
    generator = dice(seed, "weights", task)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
    return model, torch.optim.Adam(model.parameters(), lr=RATE)


def attached(
    arm: Arm,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    example: Tensor,
    seed: int,
) -> regrow.Regrower:
    """RandomOut, with the test that the arm is named after, on both hidden layers and to the end of the training."""
    return regrow.attach(
        regrow.RandomOut(threshold=THRESHOLD, active_fraction=1.0, confirm=arm),
        model,
        optimizer,
        example_inputs=example,
        layers=("linear",),
        init="kaiming_uniform",
        seed=seed,
    )


def batches(seed: int, task: int, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a task: all its epochs, with labels of its own."""
    labels = torch.randint(CLASSES, (len(images),), generator=dice(seed, "labels", task))
    generator = dice(seed, "orders", task)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            yield images[chosen], labels[chosen]


def train_task(
    model: nn.Module, optimizer: torch.optim.Optimizer, stream: Iterator[tuple[Tensor, Tensor]]
) -> float:
    """Train one task: percent of right answers, each batch judged before its update."""
    right, seen = 0, 0
    for images, labels in stream:
        answers = model(images)
        right += int((answers.argmax(dim=1) == labels).sum())
        seen += len(labels)
        optimizer.zero_grad()
        nn.functional.cross_entropy(answers, labels).backward()
        optimizer.step()
    return 100 * right / seen


def dead_share(model: nn.Sequential, images: Tensor) -> float:
    """Share of the hidden units that give the same value on all images."""
    values, constant = images.double().numpy(), list[bool]()
    first, second, _ = (layer for layer in model if isinstance(layer, nn.Linear))
    for layer in (first, second):
        weight, bias = (each.detach().double().numpy() for each in (layer.weight, layer.bias))
        values = np.maximum(values @ weight.T + bias, 0)
        constant.extend(values.max(axis=0) == values.min(axis=0))
    return statistics.fmean(constant)


def train(job: Job, images: Tensor) -> None:
    """Train one network through all tasks, and leave its file."""
    torch.set_num_threads(1)
    started = time.process_time()
    model, optimizer = fresh(job.seed, 0)
    regrower: regrow.Regrower | None = None
    if job.arm in {"gradient", "silence"}:
        regrower = attached(job.arm, model, optimizer, example=images[:2], seed=job.seed)
    accuracy: list[float] = []
    for task in range(job.tasks):
        if job.arm == "restart":
            model, optimizer = fresh(job.seed, task)
        accuracy.append(train_task(model, optimizer, batches(job.seed, task, images)))
    part: Part = {
        **job.settings,
        "accuracy": accuracy,
        "renewed": 0 if regrower is None else regrower.report.renewed,
        "seconds": time.process_time() - started,
        "dead": dead_share(model, images),
    }
    job.part.parent.mkdir(parents=True, exist_ok=True)
    unfinished = job.part.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(part) + "\n")
    unfinished.replace(job.part)  # whole or not at all
    print(f"{job.arm}, seed {job.seed}: {end_of(part):.1f} %, {part['seconds']:.0f} s", flush=True)


def train_all(jobs: Sequence[Job], *, processes: int) -> None:
    """Train the networks that have no file yet, seed by seed."""
    missing = [job for job in jobs if not job.part.exists()]
    if not missing:
        return
    everything = digits()
    images = {job.seed: images_of(job.seed, everything) for job in missing}
    if processes == 1:
        for job in missing:
            train(job, images[job.seed])
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(train, job, images[job.seed]) for job in missing]:
            future.result()


def read(job: Job) -> Part:
    """What a network left."""
    part: Part = json.loads(job.part.read_text())
    if {name: part.get(name) for name in job.settings} != job.settings:
        raise SystemExit(f"{job.part} has other settings: remove it, or give another --parts")
    return part


def end_of(part: Part) -> float:
    """The figure: mean accuracy of the last tasks."""
    return statistics.fmean(part["accuracy"][-LAST:])


def difference(mine: Sequence[Part], others: Sequence[Part]) -> dict[str, Any]:
    """Mean difference over paired seeds, with its 95 % t interval where there are two seeds or more."""
    found = [end_of(a) - end_of(b) for a, b in zip(mine, others, strict=True)]
    mean, interval = statistics.fmean(found), None
    if len(found) > 1:
        half = float(stats.t.ppf(0.975, len(found) - 1)) * statistics.stdev(found)
        half /= len(found) ** 0.5
        interval = (mean - half, mean + half)
    return {"mean": mean, "interval": interval, "above_0": sum(each > 0 for each in found)}


def row_of(arm: Arm, parts: dict[Arm, list[Part]]) -> dict[str, Any]:
    """The numbers of one arm."""
    mine = parts[arm]
    against = {other: parts[other] for other in ("none", "restart") if other in parts}
    return {
        "arm": arm,
        "n": len(mine),
        "last": statistics.fmean(map(end_of, mine)),
        "first": statistics.fmean(statistics.fmean(part["accuracy"][:FIRST]) for part in mine),
        "minus": {name: difference(mine, them) for name, them in against.items() if name != arm},
        "renewed": statistics.fmean(part["renewed"] for part in mine),
        "dead": statistics.fmean(part["dead"] for part in mine),
        "seconds": statistics.fmean(part["seconds"] for part in mine),
    }


def signed(value: float) -> str:
    """A difference in points."""
    return f"{value:+.1f}".replace("-", "\u2212")


def told(found: dict[str, Any] | None) -> str:
    """A difference with its interval, and in how many seeds it is above 0."""
    if found is None:
        return ""
    if found["interval"] is None:
        return signed(found["mean"])
    low, high = map(signed, found["interval"])
    return f"{signed(found['mean'])} [{low} to {high}], {found['above_0']} up"


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    return (
        f"| {row['arm']} | {row['n']} | {row['last']:.1f} | {row['first']:.1f} | "
        f"{told(row['minus'].get('none'))} | {told(row['minus'].get('restart'))} | "
        f"{row['renewed']:,.0f} | {100 * row['dead']:.0f} | {row['seconds']:.0f} |"
    )


def table(rows: Sequence[dict[str, Any]], *, tasks: int) -> list[str]:
    """The table for people."""
    return [
        f"| arm | n | last {min(LAST, tasks)} tasks (%) | first {min(FIRST, tasks)} tasks (%) "
        "| minus none, points [95 % CI], seeds above 0 | minus restart | renewed per network "
        "| dead at the end (%) | CPU seconds per network |",
        "|:--|--:|--:|--:|:--|:--|--:|--:|--:|",
        *map(line, rows),
    ]


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def asked() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=positive, default=5, help="networks of each arm")
    parser.add_argument("--tasks", type=positive, default=25)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--jobs", type=positive, default=1, help="processes, of one thread each")
    parser.add_argument(
        "--parts", type=Path, default=Path("runs/memo400"), help="finished networks"
    )
    parser.add_argument("--out", type=Path, help="where summary.json and table.md go")
    return parser.parse_args()


def main() -> None:
    """Train what is missing, then print and write the table."""
    given = asked()
    torch.set_num_threads(1)
    arms: list[Arm] = [arm for arm in ARMS if arm in given.arms]
    jobs = [
        Job(arm=arm, seed=seed, tasks=given.tasks, part=given.parts / f"{arm}-{seed}.json")
        for seed in range(given.seeds)
        for arm in arms
    ]
    for job in jobs:
        if job.part.exists():
            read(job)  # refuse other settings before anything is trained
    train_all(jobs, processes=given.jobs)
    parts: dict[Arm, list[Part]] = {
        arm: [read(job) for job in jobs if job.arm == arm] for arm in arms
    }
    rows = [row_of(arm, parts) for arm in arms]
    lines = table(rows, tasks=given.tasks)
    print("\n".join(lines))
    if given.out is not None:
        write_results(given.out, {"rows": rows, "parts": parts, "tasks": given.tasks}, lines)


if __name__ == "__main__":
    main()
