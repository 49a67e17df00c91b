"""What Continual Backprop, ReDo and self-normalised resets cost in training: the loop with them, over the plain one.

Loops over equal models and equal batches take turns, some steps each, in an order that changes from round to round; the
time is the process's processor time, on one thread. Each round gives every loop one ratio to the plain loop; the table
has the median ratio and a 95 % bootstrap interval of it. "plain again" is what this machine makes of two equal loops.
Beside it the operations of torch that a step makes, and the calls of Python functions, which no machine disturbs: both
as counted over some steps, more than the plain loop's.

Everything is in the steady state in which units are renewed all the time: before it is measured nine in ten of the
hidden units are renewed, at 19 steps, so that they are young to the optimizer (Adam remembers for 20,000 steps). So
many are it in the first layer of the MLP when Continual Backprop has been at work for that long; in the second it takes
the same few again and again.

Beside regrow's recipes stand two others:

* public ReDo: our own rewriting of what the popular function does at each check: one more forward on a batch, scores,
  fresh weights, zeros behind them, moments to 0 and counts to 0
* ccbp-pytorch, discrete: the package's wrapper around the optimizer, as it is by default but for ``continuous=False``

    OMP_NUM_THREADS=1 python benchmarks/family_cost.py [--rounds 60] [--peers FOLDER] [--out FOLDER]

With `--profile` a second table says where the time goes that regrow's recipes add: milliseconds of processor time of
each part of a step, and what they are in steps of the plain loop.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from family_parts import parts_of
from idle_cost import interval, resnet20
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from written import write_results

import regrow
from regrow.errors import RegrowError
from regrow.history import Renewed

WARM_UP = 20
COUNTED = 4


class Skipped(Exception):  # noqa: N818 # no error
    """Something is not here, and why."""


class Attached:
    """A recipe on a model whose hidden units are all young to the optimizer."""

    def __init__(self, recipe: regrow.Recipe) -> None:
        self.recipe = recipe
        self.warm_up: regrow.Regrower | None = None

    def settle(self) -> None:
        """All are young: leave the rest to the recipe."""
        if self.warm_up is not None:
            self.warm_up.detach()

    def __call__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor
    ) -> torch.optim.Optimizer:
        """The optimizer that the loop steps."""
        regrower = regrow.attach(self.recipe, model, optimizer, example_inputs=example)
        events = tuple(
            Renewed(
                step=step,
                layer=path,
                filters=tuple(range(count // 8)),
                scores=(0.0,) * (count // 8),
            )
            for step in range(1, WARM_UP)
            for path, count in regrower.report.layers.items()
            if count >= 8
        )
        again = regrow.RandomControl(like=events, readers="zero")
        self.warm_up = regrow.attach(
            again,
            model,
            optimizer,
            example_inputs=example,
            layers=self.recipe.layers,
            include=tuple(regrower.report.layers),
        )
        return optimizer


def nobody(
    model: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor
) -> torch.optim.Optimizer:
    """The loop as it is."""
    del model, example
    return optimizer


class PublicReDo:
    """What the popular function does, every so many steps, in our own words."""

    def __init__(self, every: int, tau: float = 0.025) -> None:
        self.every, self.tau = every, tau

    def __call__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor
    ) -> torch.optim.Optimizer:
        """Act behind each step of it."""
        batch = example[:1].expand(64, *example.shape[1:]).clone()
        count = 0

        def after(stepped: Any, args: Any, named: Any) -> None:
            nonlocal count
            del stepped, args, named
            count += 1
            if count % self.every == 0:
                _recycle(model, optimizer, batch, tau=self.tau)

        optimizer.register_step_post_hook(after)
        return optimizer


@torch.no_grad()
def _recycle(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor, *, tau: float
) -> None:
    layers = [each for each in model.modules() if isinstance(each, (nn.Conv2d, nn.Linear))]
    seen: list[Tensor] = []
    hooks = [each.register_forward_hook(lambda _, __, out: seen.append(out)) for each in layers]
    model(batch)
    for hook in hooks:
        hook.remove()
    for layer, following, out in zip(layers, layers[1:], seen[:-1], strict=True):
        size = torch.relu(out).mean(0)
        size = size.mean((1, 2)) if size.ndim == 3 else size
        dormant = size / (size.mean() + 1e-9) <= tau
        fresh = torch.empty_like(layer.weight)
        nn.init.kaiming_uniform_(fresh)
        layer.weight[dormant] = fresh[dormant]
        if layer.bias is not None:
            layer.bias[dormant] = 0.0
        behind = following.weight
        places = dormant.repeat_interleave(behind.shape[1] // len(dormant))
        behind[:, places] = 0.0
        for weight, axis, which in ((layer.weight, 0, dormant), (behind, 1, places)):
            state = optimizer.state[weight]
            for key in ("exp_avg", "exp_avg_sq"):
                state[key].index_fill_(axis, which.nonzero()[:, 0], 0.0)
            state["step"].zero_()


def ccbp(
    model: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor
) -> torch.optim.Optimizer:
    """The package's wrapper."""
    del example
    try:
        package = importlib.import_module("ccbp_pytorch")
    except ImportError as error:
        raise Skipped(f"{error} (--peers: pip install --no-deps --target FOLDER ...)") from error
    return package.CCBP(optimizer, model=model, continuous=False)


def _snr() -> regrow.Recipe:
    kind = getattr(regrow, "SelfNormalizedResets", None)
    if kind is None:
        raise Skipped("this regrow has no SelfNormalizedResets")
    return kind()


def mlp() -> nn.Module:
    """784-300-150-10."""
    torch.manual_seed(0)
    wide, narrow = (nn.Linear(784, 300), nn.ReLU()), (nn.Linear(300, 150), nn.ReLU())
    return nn.Sequential(*wide, *narrow, nn.Linear(150, 10))


def nature() -> nn.Module:
    """The convolutions of DQN, on four frames of 84 x 84, with six actions."""
    torch.manual_seed(0)
    convolutions = (nn.Conv2d(4, 32, 8, 4), nn.Conv2d(32, 64, 4, 2), nn.Conv2d(64, 64, 3))
    return nn.Sequential(
        *(part for each in convolutions for part in (each, nn.ReLU())),
        *(nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6)),
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, its batch and its optimizer, and what is compared on it.

    Attributes:
        steps: Steps of a loop in one round.
        share: Rounds, as a share of all.
        target: The ratio that regrow's loop must not be above; None: it is shown.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    optimizer: Callable[..., torch.optim.Optimizer]
    loops: Mapping[str, Callable[[], Any]]
    steps: int = 1
    share: float = 1.0
    target: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _cbp() -> Attached:
    return Attached(regrow.ContinualBackprop())


CBP = {"ContinualBackprop": _cbp, "ccbp-pytorch, discrete": lambda: ccbp}
REDO = {
    "ReDo": lambda: Attached(regrow.ReDo()),
    "public ReDo": lambda: PublicReDo(every=1000),
}
SNR = {"SelfNormalizedResets": lambda: Attached(_snr())}
ADAMW, ADAM, SGD = torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD
FUSED = {"fused": True}
CASES = (
    Case(
        name="CBP every step, MLP, batch 1, AdamW",
        build=mlp,
        shape=(1, 784),
        optimizer=ADAMW,
        loops=CBP,
        steps=10,
        target=2.0,
    ),
    Case(
        name="the same, fused",
        build=mlp,
        shape=(1, 784),
        optimizer=ADAMW,
        loops=CBP,
        steps=10,
        options=FUSED,
    ),
    Case(
        name="CBP every step, MLP, batch 64, AdamW",
        build=mlp,
        shape=(64, 784),
        optimizer=ADAMW,
        loops=CBP,
        steps=10,
        target=1.5,
    ),
    Case(
        name="the same, fused",
        build=mlp,
        shape=(64, 784),
        optimizer=ADAMW,
        loops=CBP,
        steps=10,
        options=FUSED,
    ),
    Case(
        name="ReDo every 1,000 steps, NatureCNN, batch 32, Adam",
        build=nature,
        shape=(32, 4, 84, 84),
        optimizer=ADAM,
        loops=REDO,
        target=1.05,
    ),
    Case(
        name="the same, fused",
        build=nature,
        shape=(32, 4, 84, 84),
        optimizer=ADAM,
        loops=REDO,
        options=FUSED,
    ),
    Case(
        name="SNR every step, MLP, batch 16, AdamW",
        build=mlp,
        shape=(16, 784),
        optimizer=ADAMW,
        loops=SNR,
        steps=10,
        target=1.8,
    ),
    Case(
        name="CBP every step, ResNet-20, batch 128, SGD",
        build=resnet20,
        shape=(128, 3, 32, 32),
        optimizer=SGD,
        loops={"ContinualBackprop": _cbp},
        share=0.3,
        target=1.06,
        options={"lr": 1e-4},
    ),
    Case(
        name="ReDo every 1,000 steps, ResNet-20, batch 128, SGD",
        build=resnet20,
        shape=(128, 3, 32, 32),
        optimizer=SGD,
        loops={"ReDo": REDO["ReDo"]},
        share=0.3,
        target=1.06,
        options={"lr": 1e-4},
    ),
    Case(
        name="SNR every step, ResNet-20, batch 128, SGD",
        build=resnet20,
        shape=(128, 3, 32, 32),
        optimizer=SGD,
        loops=SNR,
        share=0.3,
        target=1.06,
        options={"lr": 1e-4},
    ),
)


class Loop:
    """One model, its optimizer, and perhaps what acts on them."""

    def __init__(self, case: Case, what: Any) -> None:
        self.model = case.build()
        options = {"lr": 1e-5, **case.options}
        optimizer = case.optimizer(self.model.parameters(), **options)
        self.what = what
        self.optimizer = what(self.model, optimizer, torch.zeros(2, *case.shape[1:]))

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Train one step."""
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(images), labels).backward()
        self.optimizer.step()


class _Operations(TorchDispatchMode):
    """Counts what torch does."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count, and do."""
        self.count += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def _calls() -> Iterator[list[int]]:
    """Counts the calls of Python functions."""
    found = [0]

    def seen(frame: Any, event: str, arg: Any) -> None:
        del frame, arg
        found[0] += event == "call"

    sys.setprofile(seen)
    try:
        yield found
    finally:
        sys.setprofile(None)


def counted(loop: Loop, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Operations, and calls of Python functions, in a step."""
    with _Operations() as operations:
        for _ in range(COUNTED):
            loop.step(images, labels)
    with _calls() as calls:
        for _ in range(COUNTED):
            loop.step(images, labels)
    return operations.count / COUNTED, calls[0] / COUNTED


def _batch(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(case.shape, generator=generator)
    return images, torch.randint(0, 6, (case.shape[0],), generator=generator)


def _settle(loop: Loop, images: Tensor, labels: Tensor) -> None:
    """Until its hidden units are young."""
    for _ in range(WARM_UP + 2):
        loop.step(images, labels)
    if isinstance(loop.what, Attached):
        loop.what.settle()


def parts(case: Case) -> list[str]:
    """Where the time goes in a step of regrow's own loop."""
    images, labels = _batch(case)
    mine, plain = Loop(case, next(iter(case.loops.values()))()), Loop(case, nobody)
    for loop in (mine, plain):
        _settle(loop, images, labels)
    return parts_of(
        case.name, lambda: mine.step(images, labels), lambda: plain.step(images, labels)
    )


def measure(case: Case, rounds: int) -> list[dict[str, Any]]:
    """The rows of one case."""
    images, labels = _batch(case)
    loops: dict[str, Loop] = {}
    rows: list[dict[str, Any]] = []
    for name, what in {
        "plain": lambda: nobody,
        **case.loops,
        "plain again": lambda: nobody,
    }.items():
        try:
            loops[name] = Loop(case, what())
        except (Skipped, RegrowError) as why:
            rows.append({"case": case.name, "loop": name, "skipped": str(why)})
    if loops.keys() <= {"plain", "plain again"}:
        return rows
    for loop in loops.values():
        _settle(loop, images, labels)
    counts = {name: counted(loop, images, labels) for name, loop in loops.items()}
    times: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for number in range(max(4, round(rounds * case.share))):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            started = time.process_time()
            for _ in range(case.steps):
                loops[name].step(images, labels)
            times[name].append((time.process_time() - started) / case.steps)
    for name, mine in times.items():
        ratios = [one / other for one, other in zip(mine, times["plain"], strict=True)]
        is_ours = name in {"ContinualBackprop", "ReDo", "SelfNormalizedResets"}
        rows.append(
            {
                "case": case.name,
                "loop": name,
                "rounds": len(ratios),
                "steps_a_round": case.steps,
                "step_ms": 1e3 * statistics.median(mine),
                "ratio": statistics.median(ratios),
                "ratio_interval": interval(ratios),
                "operations_more": counts[name][0] - counts["plain"][0],
                "calls_more": counts[name][1] - counts["plain"][1],
                "target": case.target if is_ours else None,
            }
        )
    return rows


def _line(row: Mapping[str, Any]) -> str:
    if "skipped" in row:
        return f"| {row['case']} | {row['loop']} | | not measured: {row['skipped']} | | | |"
    low, high = row["ratio_interval"]
    target = "" if row["target"] is None else f"{row['target']:g}"
    return (
        f"| {row['case']} | {row['loop']} | {row['step_ms']:.2f} | {row['ratio']:.3f} ({low:.3f} to {high:.3f}) "
        f"| {target} | {row['operations_more']:.0f} | {row['calls_more']:.0f} |"
    )


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument(
        "--peers", type=Path, help="folder that ccbp-pytorch and what it needs lie in"
    )
    parser.add_argument("--only", default="", help="a part of the names of the cases to measure")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--profile", action="store_true", help="a table of the parts of a step too")
    given = parser.parse_args()
    if given.peers is not None:
        sys.path.append(str(given.peers))  # at the end: nothing of the environment is replaced
    torch.set_num_threads(1)
    chosen = [case for case in CASES if given.only in case.name]
    rows = [row for case in chosen for row in measure(case, given.rounds)]
    lines = [
        "| case | loop | step (ms) | ratio | at most | operations more a step | Python calls more a step |",
        "|:--|:--|--:|--:|--:|--:|--:|",
        *map(_line, rows),
    ]
    if given.profile:
        lines += ["", "| case | part | ms | in plain steps |", "|:--|:--|--:|--:|"]
        lines += [line for case in chosen for line in parts(case)]
    print("\n".join(lines))
    if given.out is not None:
        write_results(given.out, {"rows": rows, "threads": 1}, lines)


if __name__ == "__main__":
    main()
