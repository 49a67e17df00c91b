"""The engine's speed against eager torch in the same run, and against the hardware.

CraterCNN (15x15 images), plain SGD, float32, one thread a process. A queue of networks is worked off as the laboratory
does it: plain modules wait, a stack of one, two or four is built at its turn, trained, and released. Eager torch is
what a user would write: one network after the other, with `cross_entropy`, `backward` and `torch.optim.SGD`.

All variants take turns on the next four networks of the queue; each round gives every variant one ratio to the eager
loop of that round, and the table has the medians. Times are processor time, which a busy machine disturbs least.

* 2 processes: each works off a queue of its own; all start their turn together, and their times are added
* ceiling: the rate of sgemm (2048), measured in every round, over the floating point operations of a sample
* folded: the dense layers' steps are part of the backward pass, and leave no gradients to read

    OMP_NUM_THREADS=1 python benchmarks/engine_speed.py [--networks 52] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from written import write_results

from regrow.engine import SGD, Stack, program_of
from regrow.lab.models.cratercnn import CraterCNN
from regrow.lab.models.settings import CraterCNNSettings

SIDE, CLASSES, IMAGES, RATE = 15, 2, 611, 0.01
TURN = 4  # networks that a variant trains in one round
FEW, MANY, AT_ONCE = (
    10,
    200,
    20,
)  # queues whose rates are compared, and how many networks are trained in a round
MANY_TARGET = 0.95
GPU_NETWORKS = 1000


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network and batch size, and what is wanted there: times eager torch, None for nothing."""

    filters: int
    dense: int
    batch: int
    must: float | None = None
    stretch: float | None = None

    @property
    def name(self) -> str:
        """As in the table."""
        few = "" if self.filters == 20 else f"filters {self.filters}, "
        return f"{few}dense {self.dense}, batch {self.batch}"

    @property
    def steps(self) -> int:
        """Of a network in its turn."""
        return max(10, 960 // self.batch) if self.filters == 20 else 24

    @property
    def work(self) -> float:
        """Floating point operations a sample and step; the first layer's input has no gradient."""
        o = self.filters
        first, others = o * 16 * 144, o * o * 16 * 81 + (81 * o + CLASSES) * self.dense
        return 2.0 * (2 * first + 3 * others)


CASES = (
    Case(filters=20, dense=500, batch=32, must=1.35, stretch=1.5),
    Case(filters=20, dense=500, batch=128, must=1.2, stretch=1.35),
    Case(filters=20, dense=100, batch=32, must=1.7, stretch=1.95),
    Case(filters=2, dense=16, batch=64),
)
EAGER, CEILING = "eager", "ceiling (sgemm)"
VARIANTS = {
    f"chunk {chunk}{', folded' if fold else ''}": (chunk, fold)
    for fold in (False, True)
    for chunk in (1, 2, 4)
}

SOME = [EAGER, "chunk 1", "chunk 4", "chunk 4, folded", CEILING]  # in two processes


class Bench:
    """The data of a case and its variants; `turn` trains fresh networks and returns processor seconds."""

    def __init__(self, case: Case, *, seed: int = 0, device: str = "cpu") -> None:
        generator = torch.Generator().manual_seed(seed)
        self.case, self.seed, self.device = case, seed, device
        self.x = torch.randn(IMAGES, 1, SIDE, SIDE, generator=generator).to(device)
        self.y = torch.randint(0, CLASSES, (IMAGES,), generator=generator).to(device)
        self.program = program_of(self.network(0))

    def network(self, number: int) -> nn.Module:
        """A fresh one."""
        torch.manual_seed(1000 * self.seed + number)
        settings = CraterCNNSettings(filters=self.case.filters, dense=self.case.dense)
        size = (SIDE, SIDE)
        net = CraterCNN(in_channels=1, image_size=size, classes=CLASSES, settings=settings)
        return net.to(self.device)

    def orders(self, number: int, steps: int) -> Iterator[Tensor]:
        """The batches of one network."""
        generator = torch.Generator().manual_seed(number)
        for _ in range(steps):
            order = torch.randperm(IMAGES, generator=generator)[: self.case.batch]
            yield order.to(self.device)

    def eager(self, model: nn.Module, number: int, steps: int) -> None:
        """Plain torch."""
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        for order in self.orders(number, steps):
            loss = F.cross_entropy(model(self.x[order]), self.y[order])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def stacked(self, models: list[nn.Module], number: int, steps: int, *, fold: bool) -> None:
        """One stack: built, trained, released."""
        stack = Stack(models, program=self.program)
        optimizer = SGD(stack, lr=RATE, folded=self.program.dense if fold else ())
        several = [self.orders(number + other, steps) for other in range(len(models))]
        for order in zip(*several, strict=True):
            chosen = torch.stack(order)
            optimizer.train(self.x[chosen], self.y[chosen])
        stack.release()

    def turn(self, variant: str, round_: int) -> float:
        """The next networks of the queue; of the ceiling, seconds for the same work."""
        first, steps = round_ * TURN, self.case.steps
        if variant == CEILING:
            return TURN * steps * self.case.batch * self.case.work / peak()
        models = [self.network(first + other) for other in range(TURN)]
        started = time.process_time()
        if variant == EAGER:
            for other, model in enumerate(models):
                self.eager(model, first + other, steps)
        else:
            chunk, fold = VARIANTS[variant]
            for other in range(0, TURN, chunk):
                self.stacked(models[other : other + chunk], first + other, steps, fold=fold)
        return time.process_time() - started


def peak() -> float:
    """Rate of a large matrix product, operations a processor second."""
    size = 2048
    left, out = torch.randn(size, size), torch.empty(size, size)
    started = time.process_time()
    torch.mm(left, left, out=out)
    return 2.0 * size**3 / (time.process_time() - started)


def rounds(
    case: Case,
    names: list[str],
    turn: Callable[[str, int], float],
    *,
    networks: int,
    processes: int,
) -> dict[str, Any]:
    """Seconds of each variant in each round, interleaved; one round before is not counted."""
    count = -(-networks // TURN)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(-1, count):
        shift = round_ % len(names)
        for name in (*names[shift:], *names[:shift]):
            spent = turn(name, max(round_, 0))
            if round_ >= 0:
                seconds[name].append(spent)
    samples = TURN * case.steps * case.batch * processes
    return {
        **asdict(case),
        "case": case.name,
        "processes": processes,
        "samples": samples,
        "seconds": seconds,
    }


def in_two_processes(case: Case, names: list[str], *, networks: int) -> dict[str, Any]:
    """The same, each turn in two processes at the same time."""
    command = [sys.executable, __file__, "--inside", json.dumps(asdict(case))]
    workers = [
        subprocess.Popen(  # noqa: S603
            [*command, "--seed", str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (0, 1)
    ]

    def turn(variant: str, round_: int) -> float:
        for worker in workers:
            print(json.dumps([variant, round_]), file=worker.stdin, flush=True)
        return sum(float(worker.stdout.readline()) for worker in workers if worker.stdout)

    found = rounds(case, names, turn, networks=networks, processes=2)
    for worker in workers:
        worker.communicate()
    return found


def inside(case: Case, seed: int) -> None:
    """A worker: a variant and a round on each line, seconds back."""
    bench = Bench(case, seed=seed)
    for line in sys.stdin:
        print(bench.turn(*json.loads(line)), flush=True)


def long_queue(case: Case) -> dict[str, Any]:
    """Rates with few and with many networks waiting, all alive; stacks of one."""
    bench = Bench(case)
    queues = {count: [bench.network(number) for number in range(count)] for count in (FEW, MANY)}
    seconds: dict[int, list[float]] = {count: [] for count in queues}
    for round_ in range(MANY // AT_ONCE):
        for count in (FEW, MANY) if round_ % 2 else (MANY, FEW):
            started = time.process_time()
            for other in range(AT_ONCE):
                number = (round_ * AT_ONCE + other) % count
                bench.stacked([queues[count][number]], number, case.steps, fold=False)
            seconds[count].append(time.process_time() - started)
    ratio = statistics.median(a / b for a, b in zip(seconds[FEW], seconds[MANY], strict=True))
    return {"case": case.name, "seconds": seconds, "ratio": ratio}


def on_gpu(case: Case, device: str, *, networks: int, steps: int = 10) -> dict[str, Any]:
    """Wall clock a network and step: one stack of all, and a loop over single networks."""
    bench = Bench(case, device=device)
    chosen = torch.stack([next(bench.orders(number, 1)) for number in range(networks)])
    optimizer = SGD(
        Stack([bench.network(number) for number in range(networks)], batched=True), lr=RATE
    )
    single = bench.network(0)

    def timed(run: Callable[[], None], count: int) -> float:
        wait = torch.cuda.synchronize if device == "cuda" else list
        run()
        wait()
        started = time.perf_counter()
        run()
        wait()
        return (time.perf_counter() - started) / count

    def all_at_once() -> None:
        for _ in range(steps):
            optimizer.train(bench.x[chosen], bench.y[chosen])

    stacked = timed(all_at_once, steps * networks)
    alone = timed(lambda: bench.eager(single, 0, 20 * steps), 20 * steps)
    return {
        "networks": networks,
        "seconds_stacked": stacked,
        "seconds_eager": alone,
        "ratio": alone / stacked,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """One case as rows of the table."""
    base = found["seconds"][EAGER]
    limit = statistics.median(found["seconds"][CEILING])
    must, stretch = found["must"] or "no target", found["stretch"] or "-"
    rows: list[str] = []
    for name, seconds in found["seconds"].items():
        ratios = sorted(b / s for b, s in zip(base, seconds, strict=True))
        middle = statistics.median(seconds)
        rate = found["samples"] * found["processes"] / middle
        spread = f"{ratios[len(ratios) // 4]:.2f} to {ratios[3 * len(ratios) // 4]:.2f}"
        cells = (f"{rate:,.0f}", f"{statistics.median(ratios):.2f}", spread, must, stretch)
        share = f"{limit / middle:.2f}"
        if found["filters"] < 20:
            share = "-"  # so small that calls and memory are all: the products say nothing
            if name == CEILING:
                continue
        told = (found["case"], found["processes"], name, *cells, share)
        rows.append(f"| {' | '.join(map(str, told))} |")
    return rows


def verdicts(
    results: list[dict[str, Any]], queue: dict[str, Any] | None, gpu: dict[str, Any] | None
) -> list[str]:
    """Each target, and whether it is met; of plain and of folded steps, the best chunk of this run."""
    found: list[str] = []
    for row in results:
        best: dict[bool, tuple[float, str]] = {}
        for name, (_, fold) in VARIANTS.items():
            if name in row["seconds"]:
                pairs = zip(row["seconds"][EAGER], row["seconds"][name], strict=True)
                ratio = statistics.median(base / mine for base, mine in pairs)
                best[fold] = max(best.get(fold, (0.0, "")), (ratio, name))
        for ratio, name in best.values():
            many = "1 process" if row["processes"] == 1 else "2 processes"
            what = f"* {row['case']}, {many}, {name}: {ratio:.2f} x eager"
            if row["must"] is None:
                found.append(f"{what}, no target")
                continue
            met = [f"{key} {row[key]} {_met(ratio, row[key])}" for key in ("must", "stretch")]
            found.append(f"{what}, {', '.join(met)}")
    many = f"* a queue of {MANY} networks against one of {FEW}, must {MANY_TARGET}: "
    if queue is None:
        found.append(f"{many}not measured")
    else:
        ratio = queue["ratio"]
        found.append(f"{many}{ratio:.2f} ({queue['case']}, chunk 1), {_met(ratio, MANY_TARGET)}")
    large = f"* on a GPU, {GPU_NETWORKS} networks against a loop over single ones, must 50, stretch 200: "
    found.append(large + ("not measured" if gpu is None else f"{gpu['ratio']:.0f}"))
    return found


def _met(ratio: float, target: float) -> str:
    return "met" if ratio >= target else "NOT met"


def finish(
    results: list[dict[str, Any]],
    queue: dict[str, Any] | None,
    gpu: dict[str, Any] | None,
    given: argparse.Namespace,
) -> list[str]:
    """Write what there is so far: a run that is broken off leaves its rows."""
    met = verdicts(results, queue, gpu)
    head = (
        "case | processes | variant | samples/s | x eager | quartiles | must | stretch | of ceiling"
    )
    table = [f"| {head} |", "|:--|--:|:--|--:|--:|--:|--:|--:|--:|"]
    table += [line for run in results for line in lines(run)]
    document = {
        "networks": given.networks,
        "rows": results,
        "queue": queue,
        "gpu": gpu,
        "targets": met,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    if given.out is not None:
        write_results(given.out, document, [*table, "", *met])
    return met


def again(given: argparse.Namespace) -> list[str]:
    """Measure some cases anew in two processes, in place of what the folder has of them."""
    before = json.loads((given.out / "summary.json").read_text())
    rows = before["rows"]
    for case in CASES:
        if case.name in given.again:
            run = in_two_processes(case, SOME, networks=given.networks // 2)
            place = [(row["case"], row["processes"]) for row in rows].index((case.name, 2))
            rows[place] = run
            print("\n".join(lines(run)), flush=True)
    return finish(rows, before["queue"], before["gpu"], given)


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=52)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", nargs="+", help="cases to measure anew in two processes")
    parser.add_argument("--inside", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.inside is not None:
        inside(Case(**given.inside), given.seed)
        return
    results: list[dict[str, Any]] = []
    queue: dict[str, Any] | None = None
    gpu: dict[str, Any] | None = None
    if given.again is not None:
        print("\n".join(again(given)))
        return
    if torch.cuda.is_available():
        gpu = on_gpu(CASES[0], "cuda", networks=GPU_NETWORKS)
    for processes in (1, 2):
        for case in CASES:
            if processes == 1:
                names = [EAGER, *VARIANTS, CEILING]
                run = rounds(case, names, Bench(case).turn, networks=given.networks, processes=1)
            else:
                run = in_two_processes(case, SOME, networks=given.networks // 2)
            results.append(run)
            print("\n".join(lines(run)), flush=True)
            finish(results, queue, gpu, given)
        queue = queue or long_queue(CASES[0])
    print("\n".join(finish(results, queue, gpu, given)))


if __name__ == "__main__":
    main()
