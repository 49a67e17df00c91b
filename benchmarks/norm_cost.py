"""What a layer in the place of batch normalisation costs, forward and backward, with a ReLU behind it and without.

All layers take turns, one forward and one backward pass each, in an order that changes from round to round. Each round
gives every layer one ratio to the BatchNorm2d (in training mode) of that round, with a ReLU to that with one; the table
has the medians. With one thread the clock is the process's processor time, which a busy machine disturbs least.

* floor: the passes over memory that no way around was found for, at the speed of a streaming copy in the same rounds:
  read the input and write the output, read the gradient and the input and write the gradient. A copy is two of the five
* saved: bytes of activations that autograd keeps for the backward pass, by hooks of saved tensors; the input is 1

The allocator matters as much as the layer: glibc gives blocks of this size back to the system each time, and page
faults then cost more than the arithmetic. The table is therefore measured with that switched off, in a process of its
own, and the first column is repeated with the allocator as it comes.

    python benchmarks/norm_cost.py [--rounds 30] [--threads 1 2] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from written import write_results

from regrow.functional import gain_control
from regrow.nn import GainControl2d

SHAPES = ((128, 64, 32, 32), (128, 16, 32, 32))
WARM_UP = 4
FLOOR_PASSES, COPY_PASSES = 5, 2
FIXED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "10000000000",
    "MALLOC_TOP_PAD_": "100000000",
}
ALLOCATORS = {"fixed": FIXED, "default": {}}
TARGETS = {"GainControl2d": 0.75, "GainControl2d, compiled": 0.42}
SAVED_TARGET = 0.5
COPY = "copy"


class Formula(GainControl2d):
    """The layer with the plain formula and autograd's own backward pass."""

    def forward(self, maps: Tensor) -> Tensor:
        """As the layer's."""
        told = {"mean_scale": self.mean_scale, "gain": self.gain, "bias": self.bias}
        return gain_control(maps, **told, dims=self.dims, relu=self.relu)


def layers(channels: int, *, relu: bool) -> dict[str, nn.Module]:
    """One of each; the ReLU fused where it can be."""

    def behind(norm: nn.Module) -> nn.Module:
        return nn.Sequential(norm, nn.ReLU()) if relu else norm

    return {
        "BatchNorm2d": behind(nn.BatchNorm2d(channels)),
        "GroupNorm(8)": behind(nn.GroupNorm(8, channels)),
        "InstanceNorm2d": behind(nn.InstanceNorm2d(channels, affine=True)),
        "plain formula": Formula(channels, relu=relu),
        "GainControl2d": GainControl2d(channels, relu=relu),
        "GainControl2d, compiled": torch.compile(GainControl2d(channels, relu=relu)),
        "BatchNorm2d, compiled": torch.compile(behind(nn.BatchNorm2d(channels))),
    }


def saved_share(layer: nn.Module, x: Tensor) -> float:
    """Bytes of activations that autograd keeps, in units of the input."""
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = layer(x)
    del kept
    return sum(size for size in found.values() if size >= x.nbytes // 64) / x.nbytes


def measure(shape: tuple[int, ...], rounds: int, threads: int) -> list[dict[str, Any]]:
    """The rows of one shape."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).requires_grad_()
    come = torch.randn(shape, generator=generator)
    target = torch.empty(shape)
    clock = time.process_time if threads == 1 else time.perf_counter
    found = {
        (name, relu): layer
        for relu in (False, True)
        for name, layer in layers(shape[1], relu=relu).items()
    }

    def step(layer: nn.Module) -> None:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(come)

    def copying() -> None:
        with torch.no_grad():
            target.copy_(come)

    runs: dict[tuple[str, bool], Callable[[], None]] = {(COPY, False): copying}
    runs.update({key: (lambda layer=layer: step(layer)) for key, layer in found.items()})
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in runs}
    order = list(runs)
    for number in range(WARM_UP + rounds):
        turn = number % len(order)
        for key in (*order[turn:], *order[:turn]):
            started = clock()
            runs[key]()
            if number >= WARM_UP:
                times[key].append(clock() - started)
    floor = FLOOR_PASSES / COPY_PASSES * statistics.median(times[COPY, False])
    rows: list[dict[str, Any]] = []
    for (name, relu), layer in found.items():
        mine, theirs = times[name, relu], times["BatchNorm2d", relu]
        ratios = sorted(a / b for a, b in zip(mine, theirs, strict=True))
        rows.append(
            {
                "shape": list(shape),
                "layer": name,
                "relu": relu,
                "ms": 1e3 * statistics.median(mine),
                "ratio": statistics.median(ratios),
                "ratio_quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
                "floor_ms": 1e3 * floor,
                "times_floor": statistics.median(mine) / floor,
                "saved": saved_share(layer, x),
            }
        )
    return rows


def started(allocator: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """The same in a process with that allocator and so many threads."""
    told = {key: value for key, value in os.environ.items() if key not in FIXED}
    environment = {**told, **ALLOCATORS[allocator], "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--inside", str(threads), "--rounds", str(rounds)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)  # noqa: S603
    return json.loads(done.stdout)


def table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """For people: the first run whole, the ratios of the others."""
    first, *others = runs
    lines = [
        f"| shape | layer | ms ({first}) | x BN | quartiles | x floor | saved |"
        + "".join(f" x BN ({name}) |" for name in others),
        "|:--|:--|--:|--:|--:|--:|--:|" + "--:|" * len(others),
    ]
    for index, row in enumerate(runs[first]):
        low, high = row["ratio_quartiles"]
        cells = [
            "x".join(map(str, row["shape"])),
            row["layer"] + (" + ReLU" if row["relu"] else ""),
            f"{row['ms']:.2f}",
            f"{row['ratio']:.2f}",
            f"{low:.2f} to {high:.2f}",
            f"{row['times_floor']:.2f}",
            f"{row['saved']:.2f}",
            *(f"{runs[name][index]['ratio']:.2f}" for name in others),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Each target, and whether it is met."""
    found: list[str] = []
    saved = {(tuple(row["shape"]), row["layer"], row["relu"]): row["saved"] for row in rows}
    for row in rows:
        shape, relu = tuple(row["shape"]), row["relu"]
        what = f"{'x'.join(map(str, shape))} {row['layer']}{' + ReLU' if relu else ''}"
        limit = TARGETS.get(row["layer"])
        if limit is not None:
            met = "met" if row["ratio"] <= limit else "NOT met"
            found.append(f"{what}: {row['ratio']:.3f} x BN, target {limit}: {met}")
            if relu:
                share = row["saved"] / saved[shape, "BatchNorm2d", True]
                met = "met" if share <= SAVED_TARGET else "NOT met"
                found.append(f"{what}: saves {share:.2f} x BN + ReLU, target {SAVED_TARGET}: {met}")
    return found


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is not None:
        torch.set_num_threads(given.inside)
        rows = [row for shape in SHAPES for row in measure(shape, given.rounds, given.inside)]
        print(json.dumps(rows))
        return
    wanted = [("fixed", threads) for threads in given.threads] + [("default", given.threads[0])]
    runs = {
        f"malloc {allocator}, {threads} thread{'s' * (threads > 1)}": started(
            allocator, threads, given.rounds
        )
        for allocator, threads in wanted
    }
    lines = table(runs)
    met = verdicts(next(iter(runs.values())))
    print("\n".join([*lines, "", *met]))
    if given.out is not None:
        document = {
            "runs": runs,
            "allocator": FIXED,
            "rounds": given.rounds,
            "targets": met,
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }
        write_results(given.out, document, lines)


if __name__ == "__main__":
    main()
