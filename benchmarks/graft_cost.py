"""What one graft costs: networks of the size of ResNet-50, on two ranks and in one process.

**On ranks**: two processes of this machine, one thread each, gloo over the loopback. Two things take turns: a graft
(entropy of all layers, the exchange, the blend, the report), and what any exchange of the networks needs: each tensor
sent to the other rank once and received from it, with nothing done to it. Each starts at a barrier, and ends when the
slower rank has ended. The ratio is the median over the rounds of graft over sending, each with its neighbour in time.
Beside it stands the processor time of the same: a busy machine stretches the time of both, but sending waits anyway.
Before each graft the networks get their own weights back, outside of the clock: grafted ones would be alike.

**In one process**: the same two networks, and the parts of their graft.

    python benchmarks/graft_cost.py [--rounds 20] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from written import write_results

import regrow
from regrow.partners.network import Loan

sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")  # not here, where zoo.py is
from zoo.nets import torchvision  # noqa: E402

LIMIT = 1.5
"""At most so many times as long as sending the weights."""

MEMORIES = ("keep", "graft")


def resnet50(seed: int) -> nn.Module:
    """torchvision's, with random weights."""
    torch.manual_seed(seed)
    return torchvision().models.resnet50(weights=None)


def stepped(model: nn.Module) -> torch.optim.Optimizer:
    """SGD that has a momentum."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-6)
    optimizer.step()
    return optimizer


def timed(what: Callable[[], object], *, together: bool = False) -> tuple[float, float]:
    """Seconds and processor seconds; of the slower rank, where both do it."""
    if together:
        dist.barrier()
    started, worked = time.perf_counter(), time.process_time()
    what()
    spent = torch.tensor([time.perf_counter() - started, time.process_time() - worked])
    if together:
        dist.all_reduce(spent, op=dist.ReduceOp.MAX)
    seconds, processor = spent.tolist()
    return seconds, processor


class Originals:
    """A network's own weights, to be put back."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._values = {name: value.clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Put them back."""
        for name, value in self._model.state_dict().items():
            value.copy_(self._values[name])


def on_ranks(rounds: int) -> None:
    """What each rank runs; rank 0 prints."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    rows: list[dict[str, Any]] = []
    for memory in MEMORIES:
        model = resnet50(rank)
        optimizer = stepped(model)
        grafter = regrow.attach_partners(
            regrow.FilterGrafting(partners=2, memory=memory),  # type: ignore[arg-type]
            model,
            optimizer,
            example_inputs=torch.zeros(1, 3, 64, 64),
            hooks=False,
        )
        mine = [value.detach() for value in grafter._networks[0].lend().values()]
        theirs = [torch.empty_like(each) for each in mine]

        def send(mine: list[Tensor] = mine, theirs: list[Tensor] = theirs) -> None:
            works = [
                work
                for out, back in zip(mine, theirs, strict=True)
                for work in (dist.isend(out, 1 - rank), dist.irecv(back, 1 - rank))
            ]
            for work in works:
                assert work is not None
                work.wait()

        originals = Originals(model)
        times: dict[str, list[tuple[float, float]]] = {"send": [], "graft": []}
        for number in range(rounds + 2):
            originals.restore()
            pair = [("send", send), ("graft", grafter.graft)]
            for name, what in pair if number % 2 else reversed(pair):
                times[name].append(timed(what, together=True))
        rows.append(
            {
                "memory": memory,
                "megabytes": sum(each.nbytes for each in mine) / 1e6,
                "tensors": len(mine),
                "layers": len(grafter.report.events) // grafter.report.grafts,
                **{name: found[2:] for name, found in times.items()},  # without the warm-up
            }
        )
    if rank == 0:
        print(json.dumps(rows))
    dist.barrier()
    dist.destroy_process_group()


def in_process(rounds: int) -> dict[str, list[tuple[float, float]]]:
    """A graft of two networks, and its parts for one of them."""
    models = [resnet50(seed) for seed in range(2)]
    optimizers = [stepped(model) for model in models]
    grafter = regrow.attach_partners(
        regrow.FilterGrafting(partners=2),
        models,
        optimizers,
        example_inputs=torch.zeros(1, 3, 64, 64),
        hooks=False,
    )
    first, second = grafter._networks
    originals = [Originals(model) for model in models]
    measured = [each.measured() for each in (first, second)]
    times: dict[str, list[tuple[float, float]]] = {"graft": [], "entropy": [], "blend": []}
    for _ in range(rounds + 1):
        for each in originals:
            each.restore()
        times["entropy"].append(timed(first.measured))
        lent = Loan(tensors=second.lend(), measured=measured[1])
        times["blend"].append(timed(lambda lent=lent: first.take(lent, measured=measured[0])))
        originals[0].restore()
        times["graft"].append(timed(grafter.graft))
    return {name: found[1:] for name, found in times.items()}


def summary(numbers: Iterable[float]) -> dict[str, float]:
    """Median and range."""
    found = list(numbers)
    return {"median": statistics.median(found), "least": min(found), "most": max(found)}


def both(times: Sequence[Sequence[float]]) -> dict[str, dict[str, float]]:
    """Of the wall clock and of the processor."""
    return {
        "seconds": summary(each[0] for each in times),
        "processor_seconds": summary(each[1] for each in times),
    }


def started(*command: str) -> Any:
    """What a process of ours printed last, with one thread."""
    done = subprocess.run(  # noqa: S603 # ours
        [sys.executable, *command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def measured(rounds: int) -> dict[str, Any]:
    """All of it, in processes of their own."""
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    found = started(*launch, __file__, "--ranks", "--rounds", str(rounds))
    rows: list[dict[str, Any]] = []
    for row in found:
        ratios = {
            name: summary(a[k] / b[k] for a, b in zip(row["graft"], row["send"], strict=True))
            for k, name in enumerate(("ratio", "processor_ratio"))
        }
        several = {name: both(row[name]) for name in ("send", "graft")}
        rows.append({**row, **several, **ratios, "rounds": rounds})
    alone = started(__file__, "--alone", "--rounds", str(rounds))
    return {"ranks": rows, "process": {name: both(each) for name, each in alone.items()}}


def tables(document: dict[str, Any]) -> list[str]:
    """Both, for people."""

    def cell(found: dict[str, float], *, scale: float = 1.0, digits: int = 3) -> str:
        middle, low, high = (
            f"{scale * found[key]:.{digits}f}" for key in ("median", "least", "most")
        )
        return f"{middle} ({low} to {high})"

    lines = [
        "| two ranks, ResNet-50 | tensors | MB | sending them (ms) | graft (ms) | ratio "
        "| processor: sending (ms) | graft (ms) | ratio |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in document["ranks"]:
        with_memory = "weights" if row["memory"] == "keep" else "weights and momentum"
        cells = [with_memory, str(row["tensors"]), f"{row['megabytes']:.0f}"]
        for clock, ratio in (("seconds", "ratio"), ("processor_seconds", "processor_ratio")):
            cells += [cell(row[name][clock], scale=1e3, digits=0) for name in ("send", "graft")]
            cells.append(cell(row[ratio], digits=2))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| one process, two ResNet-50 | time (ms) | processor (ms) |", "|:--|--:|--:|"]
    names = {
        "graft": "graft of both",
        "entropy": "entropy of all layers of one",
        "blend": "blend, distances and report of one",
    }
    for name, found in document["process"].items():
        times = (
            cell(found[clock], scale=1e3, digits=0) for clock in ("seconds", "processor_seconds")
        )
        lines.append(f"| {names[name]} | {' | '.join(times)} |")
    return lines


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ranks", action="store_true")
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.ranks:
        on_ranks(given.rounds)
        return
    if given.alone:
        print(json.dumps(in_process(given.rounds)))
        return
    document = measured(given.rounds)
    lines = tables(document)
    print("\n".join(lines))
    kept = [row for row in document["ranks"] if row["ratio"]["median"] <= LIMIT]
    print(
        f"{len(kept)} of {len(document['ranks'])} grafts take at most {LIMIT:g} times as long as sending"
    )
    if given.out is not None:
        write_results(given.out, document, lines)


if __name__ == "__main__":
    main()
