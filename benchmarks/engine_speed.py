"""The engine's speed on one core, against eager torch in the same process and against the hardware.

OMP_NUM_THREADS=1 python benchmarks/engine_speed.py              # about ten minutes; --quick: two
OMP_NUM_THREADS=1 python benchmarks/engine_speed.py --networks 10 200 --cases 500x32

CraterCNN (15x15 images, 20 filters of 4x4), plain SGD, float32, one thread. All networks train on batches of their own,
gathered from one set of images. Eager torch is what a user would write: a loop over networks, each with `nn.Module`,
`cross_entropy`, `backward` and `torch.optim.SGD`. The engine trains a queue of networks in chunks, each for one round
before the next. Rounds of all variants take turns; times are processor time; the table has medians and the median of
the rounds' own ratios. The ceiling is the rate of sgemm (2048), measured in every round, over the work of a sample.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from regrow.engine import SGD, Stack, program_of
from regrow.lab.models.cratercnn import CraterCNN
from regrow.lab.models.settings import CraterCNNSettings

SIDE, CLASSES, IMAGES = 15, 2, 640


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table."""

    dense: int
    batch: int

    @property
    def name(self) -> str:
        """As in the table."""
        return f"dense {self.dense}, batch {self.batch}"

    @property
    def work(self) -> float:
        """Floating point operations a sample and step; the first layer's input has no gradient."""
        return 2.0 * (2 * 46_080 + 3 * (518_400 + 1_620 * self.dense + CLASSES * self.dense))


def network(case: Case, seed: int) -> nn.Module:
    """A fresh network."""
    torch.manual_seed(seed)
    settings = CraterCNNSettings(dense=case.dense)
    return CraterCNN(in_channels=1, image_size=(SIDE, SIDE), classes=CLASSES, settings=settings)


def orders(case: Case, seed: int, steps: int) -> Iterator[Tensor]:
    """The batches of one network."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield torch.randperm(IMAGES, generator=generator)[: case.batch]


def eager(case: Case, networks: int, steps: int, x: Tensor, y: Tensor) -> Callable[[], None]:
    """A round of plain torch."""
    models = [network(case, seed) for seed in range(networks)]
    pairs = [(model, torch.optim.SGD(model.parameters(), lr=0.01)) for model in models]

    def run() -> None:
        for seed, (model, optimizer) in enumerate(pairs):
            for order in orders(case, seed, steps):
                loss = F.cross_entropy(model(x[order]), y[order])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    return run


def engine(
    case: Case, networks: int, steps: int, x: Tensor, y: Tensor, *, chunk: int, fold: bool
) -> Callable[[], None]:
    """A round of the engine, chunk by chunk."""
    models = [network(case, seed) for seed in range(networks)]
    program = program_of(models[0])
    optimizers = [
        SGD(
            Stack(models[first : first + chunk], program=program),
            lr=0.01,
            folded=program.dense if fold else (),
        )
        for first in range(0, networks, chunk)
    ]

    def run() -> None:
        for number, optimizer in enumerate(optimizers):
            first = number * chunk
            seeds = range(first, first + len(optimizer.stack))
            for order in zip(*(orders(case, seed, steps) for seed in seeds), strict=True):
                chosen = torch.stack(order)
                optimizer.train(x[chosen], y[chosen])

    return run


def peak() -> float:
    """Rate of a large matrix product, operations a second."""
    size = 2048
    left, out = torch.randn(size, size), torch.empty(size, size)
    started = time.process_time()
    torch.mm(left, left, out=out)
    return 2.0 * size**3 / (time.process_time() - started)


def measure(case: Case, variants: dict[str, Callable[[], None]], *, rounds: int) -> dict[str, Any]:
    """Seconds of each variant in each round, interleaved; one round before is not counted."""
    for run in variants.values():
        run()
    peak()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    peaks: list[float] = []
    for _ in range(rounds):
        peaks.append(peak())
        for name, run in variants.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    return {"case": case.name, "seconds": seconds, "peaks": peaks}


def compare(case: Case, *, networks: int, rounds: int, steps: int) -> dict[str, Any]:
    """One row: eager torch and the engine in several chunks."""
    torch.manual_seed(0)
    x, y = torch.randn(IMAGES, 1, SIDE, SIDE), torch.randint(0, CLASSES, (IMAGES,))
    variants = {"eager": eager(case, networks, steps, x, y)}
    for fold in (False, True):
        for chunk in (1, 2, 4):
            name = f"chunk {chunk}{', folded' if fold else ''}"
            variants[name] = engine(case, networks, steps, x, y, chunk=chunk, fold=fold)
    found = measure(case, variants, rounds=rounds)
    return {**found, "samples": networks * steps * case.batch, "work": case.work}


def lines(found: dict[str, Any]) -> list[str]:
    """One case as rows of the table."""
    base, samples = found["seconds"]["eager"], found["samples"]
    highest = statistics.median(found["peaks"]) / found["work"]
    rows = []
    for name, seconds in found["seconds"].items():
        rate = samples / statistics.median(seconds)
        ratio = statistics.median(b / s for b, s in zip(base, seconds, strict=True))
        rows.append(
            f"| {found['case']} | {name} | {rate:,.0f} | {ratio:.2f} | {rate / highest:.2f} |"
        )
    ceiling = highest / (samples / statistics.median(base))
    return [*rows, f"| {found['case']} | ceiling (sgemm) | {highest:,.0f} | {ceiling:.2f} | 1 |"]


def scaling(case: Case, counts: list[int], *, rounds: int, steps: int) -> list[str]:
    """Samples a second with few and with many networks in the queue, in turns of as many samples."""
    torch.manual_seed(0)
    x, y = torch.randn(IMAGES, 1, SIDE, SIDE), torch.randint(0, CLASSES, (IMAGES,))
    repeats = {count: max(counts) // count for count in counts}
    runs = {count: engine(case, count, steps, x, y, chunk=2, fold=True) for count in counts}

    def repeated(count: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(repeats[count]):
                runs[count]()

        return run

    found = measure(case, {str(count): repeated(count) for count in counts}, rounds=rounds)
    base = found["seconds"][str(counts[0])]
    rows = []
    for count in counts:
        seconds = found["seconds"][str(count)]
        samples = count * repeats[count] * steps * case.batch
        rate = samples / statistics.median(seconds)
        ratio = statistics.median(b / s for b, s in zip(base, seconds, strict=True))
        share = ratio * count * repeats[count] / (counts[0] * repeats[counts[0]])
        rows.append(
            f"| {case.name} | {count} networks, chunk 2, folded | {rate:,.0f} | {share:.2f} |"
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=["500x32", "500x128", "100x32"])
    parser.add_argument("--networks", nargs="*", type=int, default=[10, 200], help="for scaling")
    parser.add_argument("--queue", type=int, default=8, help="networks in the comparison")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=None, help="where the raw seconds go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 5 if options.quick else 15
    cases = [Case(dense=int(d), batch=int(b)) for d, b in (one.split("x") for one in options.cases)]
    results = []
    print("| case | variant | samples/s | x eager | of sgemm |\n|:--|:--|--:|--:|--:|")
    for case in cases:
        steps = max(4, 384 // case.batch)
        results.append(compare(case, networks=options.queue, rounds=rounds, steps=steps))
        print("\n".join(lines(results[-1])), flush=True)
    if options.networks:
        print(f"\n| case | queue | samples/s | x {options.networks[0]} |\n|:--|:--|--:|--:|")
        rows = scaling(cases[0], options.networks, rounds=3, steps=12)
        print("\n".join(rows), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
