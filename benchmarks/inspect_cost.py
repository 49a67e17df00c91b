"""What `inspect` costs beside the passes that it makes: ResNet-50 at 224 pixels on the CPU.

Plain forward passes, forward and backward passes, `inspect` without targets and `inspect` with targets take turns, each
on a loader of few and of more batches. What does not grow with the images (tracing, the weights, the ranks at the end)
is told apart from what does by the difference of the two; from both follows the ratio for any number of images. Time is
the process's processor time, one thread. Memory is the most that the process has held above what it held before, in a
process of its own for each loop.

    OMP_NUM_THREADS=1 python benchmarks/inspect_cost.py [--images 64 256] [--rounds 2] [--out results/inspect-cost]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from written import write_results

import regrow

BATCH, SIZE, CLASSES = 16, 224, 1000
ASKED = 512
"""Images of the targets."""
TARGETS = {"forward": 1.3, "gradients": 1.5}
LOOPS = ("forward", "inspect", "forward and backward", "inspect with targets")
PAIRS = {"forward": ("inspect", "forward"), "gradients": (LOOPS[3], LOOPS[2])}


def loader(images: int, *, targets: bool) -> Iterator[Any]:
    """Batches, drawn as they are asked for."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(images // BATCH):
        x = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator)
        y = torch.randint(CLASSES, (BATCH,), generator=generator)
        yield (x, y) if targets else x


def network() -> nn.Module:
    """torchvision's, with norms that have seen a batch."""
    from torchvision import models  # noqa: PLC0415 # the help does not wait for it

    torch.manual_seed(0)
    net = models.resnet50(weights=None)
    with torch.no_grad():
        net.train()(torch.randn(4, 3, SIZE, SIZE))
    return net.eval()


def loops(net: nn.Module) -> dict[str, Callable[[int], None]]:
    """By name, what is timed."""

    def forward(images: int) -> None:
        with torch.no_grad():
            for x in loader(images, targets=False):
                net(x)

    def both(images: int) -> None:
        sums: list[Tensor] = []
        trained = list(net.parameters())
        for x, y in loader(images, targets=True):
            grads = torch.autograd.grad(nn.functional.cross_entropy(net(x), y), trained)
            sums = [a + b for a, b in zip(sums, grads, strict=True)] if sums else list(grads)

    return {
        LOOPS[0]: forward,
        LOOPS[1]: lambda images: _told(regrow.inspect(net, loader(images, targets=False))),
        LOOPS[2]: both,
        LOOPS[3]: lambda images: _told(regrow.inspect(net, loader(images, targets=True))),
    }


def _told(health: regrow.Health) -> None:
    assert health.examples > 0


def timed(images: list[int], rounds: int) -> dict[str, dict[int, list[float]]]:
    """Seconds by loop and number of images, in turns."""
    runs = loops(network())
    for run in (runs["forward"], runs["forward and backward"]):
        run(BATCH)
    found: dict[str, dict[int, list[float]]] = {
        name: {each: [] for each in images} for name in runs
    }
    for number in range(rounds):
        for name in (*LOOPS[number % len(LOOPS) :], *LOOPS[: number % len(LOOPS)]):
            for each in images:
                started = time.process_time()
                runs[name](each)
                found[name][each].append(time.process_time() - started)
                print(f"{number} {name} {each}: {found[name][each][-1]:.2f} s", flush=True)
    return found


def peak(name: str, images: int) -> float:
    """Megabytes that a loop has held above what there was before, in a process of its own."""
    command = [sys.executable, __file__, "--peak", name, "--images", str(images)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603


def _peak_here(name: str, images: int) -> float:
    runs = loops(network())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    runs[name](images)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def line_of(times: dict[int, list[float]]) -> tuple[float, float]:
    """Seconds that do not grow with the images, and seconds an image."""
    (few, one), (more, other) = ((n, statistics.median(each)) for n, each in sorted(times.items()))
    slope = (other - one) / (more - few)
    return one - few * slope, slope


def table(found: dict[str, dict[int, list[float]]], peaks: dict[str, float]) -> list[str]:
    """For people."""
    lines = [
        "| loop | seconds an image | besides, once (s) | x plain, an image | x plain at 512 images | target | "
        "memory (MB) |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for target, (mine, plain) in PAIRS.items():
        ground = line_of(found[plain])
        for name in (plain, mine):
            once, each = line_of(found[name])
            once = once if name == mine else 0.0
            ratio = (once + ASKED * each) / (ASKED * ground[1])
            cells = [name, f"{each:.4f}", f"{once:.2f}", f"{each / ground[1]:.2f}", f"{ratio:.2f}"]
            cells += [f"{TARGETS[target]:g}" if name == mine else "", f"{peaks.get(name, 0):.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.peak is not None:
        print(_peak_here(given.peak, given.images[0]))
        return
    peaks = {name: peak(name, given.images[0]) for name in LOOPS}
    found = timed(given.images, given.rounds)
    lines = table(found, peaks)
    print("\n".join(lines))
    if given.out is not None:
        about = {"images": given.images, "rounds": given.rounds, "batch": BATCH, "threads": 1}
        document = {
            **about,
            "seconds": {k: {str(n): t for n, t in v.items()} for k, v in found.items()},
        }
        write_results(given.out, {**document, "megabytes": peaks}, lines)


if __name__ == "__main__":
    main()
