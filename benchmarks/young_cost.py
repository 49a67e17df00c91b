"""What renewed filters cost while they are younger than their tensor: `optimizer.step()` with regrow's correction.

Adam's kin count the updates of a whole tensor, so that the steps of renewed entries are made right after the optimizer
has made them, for some 20,000 updates. Two optimizers over equal tensors take turns, a step each: one plain, one whose
filters were renewed. Each pair gives one ratio of processor times; the table has the median ratio and a 95 % bootstrap
interval of it. With `fused=True` the plain step is so quick that the table has the correction alone, in plain steps of
the loop form (`foreach=False`), which take turns with them.

The tensors are those of a ResNet-18. Half of the young entries were renewed as rows (a layer's own filters), half as
columns (what reads other filters), in twenty steps, rows and columns by turns. "one birth": all entries of all tensors
were renewed at one step. The last rows are whole training steps of an MLP 784-300-150-10 at batch 1, where every unit
is young.

    OMP_NUM_THREADS=1 python benchmarks/young_cost.py [--pairs 50] [--out FOLDER] [--only TEXT]

What `FOLDER/summary.json` has already is not measured again: delete it, or lines of it, for that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from idle_cost import interval
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from written import write_results

from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_

BIRTHS = 20
SHARES = ("0 %", "1 %", "10 %", "50 %", "100 %", "one birth")
TARGETS = {"1 %": 1.2, "10 %": 1.5, "50 %": 2.5, "100 %": 2.5, "one birth": 1.05}
FUSED = {"1 %": 0.2, "50 %": 1.0, "100 %": 1.0, "one birth": 1.05}
KINDS: dict[str, type[torch.optim.Adam]] = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
FORMS: dict[str, dict[str, bool]] = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
MLP = (784, 300, 150, 10)


def resnet18() -> list[tuple[int, ...]]:
    """The shapes of all parameters of a ResNet-18 with 1000 classes."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    before = 64
    for width in (64, 128, 256, 512):
        for _ in range(2):
            for shape in ((width, before, 3, 3), (width, width, 3, 3)):
                shapes += [shape, (width,), (width,)]
            if before != width:
                shapes += [(width, before, 1, 1), (width,), (width,)]
            before = width
    return [*shapes, (1000, 512), (1000,)]


def spread(count: int, share: float) -> list[Tensor]:
    """A part of some places, in as many masks as there are births."""
    places = torch.randperm(count)[: round(count * share)]
    masks = torch.zeros(BIRTHS, count, dtype=torch.bool)
    masks[torch.arange(len(places)) % BIRTHS, places] = True
    return list(masks)


def masks_of(shape: Sequence[int], share: float) -> list[list[Tensor]]:
    """What is renewed of a tensor at each birth: rows, then columns."""
    dims = len(shape)
    if dims == 1:
        return [[mask] for mask in spread(shape[0], share)]
    by_row = share / 2
    by_column = share / 2 / (1 - by_row)
    rows = [mask.reshape(-1, *(1,) * (dims - 1)) for mask in spread(shape[0], by_row)]
    columns = [mask.reshape(1, -1, *(1,) * (dims - 2)) for mask in spread(shape[1], by_column)]
    return [
        list(pair) if birth % 2 else list(pair)[::-1]
        for birth, pair in enumerate(zip(rows, columns, strict=True))
    ]


class Trained:
    """Tensors with an optimizer, and with young entries or without."""

    def __init__(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer) -> None:
        self.parameters = {str(index): each for index, each in enumerate(parameters)}
        self.optimizer = optimizer
        self.surgeon: OptimizerSurgeon | None = None

    def watched(self) -> Trained:
        """With regrow's correction, as its hooks make it."""
        surgeon = OptimizerSurgeon(self.optimizer, self.parameters)
        self.optimizer.register_step_pre_hook(lambda *_: surgeon.before_step())
        self.optimizer.register_step_post_hook(lambda *_: surgeon.after_step())
        self.surgeon = surgeon
        return self

    def renew(self, masks: dict[str, list[Tensor]]) -> None:
        """Renew entries, with new values that are as large as the old ones."""
        assert self.surgeon is not None
        edits = [
            Edit(name=name, mask=mask, value=0.01 * torch.randn(self.parameters[name].shape))
            for name, some in masks.items()
            for mask in some
            if bool(mask.any())
        ]
        apply_edits_(self.parameters, edits)
        self.surgeon.reset(edits)

    def grow(self, share: str, step: Callable[[], None]) -> None:
        """Renew a part, birth after birth, with a step after each."""
        if share == "0 %":
            for _ in range(BIRTHS):
                step()
            return
        if share == "one birth":
            for _ in range(BIRTHS):
                step()
            whole = {name: [torch.ones((1,) * p.dim())] for name, p in self.parameters.items()}
            self.renew({name: [mask.bool() for mask in some] for name, some in whole.items()})
            step()
            return
        part = float(share.removesuffix("%")) / 100
        plan = {name: masks_of(p.shape, part) for name, p in self.parameters.items()}
        for birth in range(BIRTHS):
            step()
            self.renew({name: births[birth] for name, births in plan.items()})
        step()


def timed(step: Callable[[], None]) -> float:
    """Processor time of one call, in milliseconds."""
    started = time.process_time()
    step()
    return 1e3 * (time.process_time() - started)


class Counted(TorchDispatchMode):
    """Counts tensor operations."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return func(*args, **(kwargs or {}))


def tensors(kind: str, form: str) -> Trained:
    """A ResNet-18's, with gradients that stay."""
    generator = torch.Generator().manual_seed(0)
    parameters = [
        nn.Parameter(0.01 * torch.randn(shape, generator=generator)) for shape in resnet18()
    ]
    for each in parameters:
        each.grad = 1e-3 * torch.randn(each.shape, generator=generator)
    return Trained(parameters, KINDS[kind](parameters, lr=1e-5, **FORMS[form]))


def measure_steps(kind: str, form: str, share: str, pairs: int) -> dict[str, Any]:
    """One line of the table: `optimizer.step()`."""
    torch.manual_seed(0)
    young, plain = tensors(kind, form).watched(), tensors(kind, form)
    young.grow(share, young.optimizer.step)
    plain.grow("0 %", plain.optimizer.step)
    row: dict[str, Any] = {"what": f"{kind}, {form}", "share": share, "pairs": pairs}
    if share == "0 %":
        with Counted() as with_young:
            young.optimizer.step()
        with Counted() as without:
            plain.optimizer.step()
        return {**row, "operations_more": with_young.operations - without.operations}
    loop = tensors(kind, "for-loop") if form == "fused" else plain
    if loop is not plain:
        loop.grow("0 %", loop.optimizer.step)
    ratios: list[float] = []
    times: list[tuple[float, float]] = []
    for _ in range(pairs):
        mine, theirs = timed(young.optimizer.step), timed(plain.optimizer.step)
        if loop is plain or share == "one birth":
            ratios.append(mine / theirs)
        else:
            ratios.append((mine - theirs) / timed(loop.optimizer.step))
        times.append((mine, theirs))
    return {**row, **summary(times, ratios)}


def summary(times: list[tuple[float, float]], ratios: list[float]) -> dict[str, Any]:
    """Medians."""
    return {
        "young_ms": statistics.median(mine for mine, _ in times),
        "plain_ms": statistics.median(theirs for _, theirs in times),
        "ratio": statistics.median(ratios),
        "interval": interval(ratios),
    }


def measure_loop(kind: str, form: str, share: str, pairs: int) -> dict[str, Any]:
    """One line of the table: whole training steps of an MLP at batch 1."""
    image, label = torch.randn(1, MLP[0]), torch.tensor([3])

    def trained() -> tuple[Trained, Callable[[], None]]:
        torch.manual_seed(0)
        first, second, third = (nn.Linear(*sizes) for sizes in itertools.pairwise(MLP))
        net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
        one = Trained(list(net.parameters()), KINDS[kind](net.parameters(), **FORMS[form]))

        def step() -> None:
            one.optimizer.zero_grad()
            nn.functional.cross_entropy(net(image), label).backward()
            one.optimizer.step()

        return one, step

    (young, mine), (plain, theirs) = trained(), trained()
    young.watched().grow(share, mine)
    plain.grow("0 %", theirs)

    def ten(step: Callable[[], None]) -> float:
        """One is too short to be timed."""

        def some() -> None:
            for _ in range(10):
                step()

        return timed(some) / 10

    times = [(ten(mine), ten(theirs)) for _ in range(pairs)]
    row = {"what": f"MLP at batch 1, {kind}, {form}", "share": share, "pairs": pairs}
    return {**row, **summary(times, [mine / theirs for mine, theirs in times])}


def target(row: dict[str, Any]) -> float | None:
    """What the ratio should be at most."""
    if row["what"].startswith("MLP"):
        return None if row["what"].endswith("fused") else 2.0
    return (FUSED if row["what"].endswith("fused") else TARGETS).get(row["share"])


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    if "operations_more" in row:
        found = f"{row['operations_more']} operations more"
        return f"| {row['what']} | {row['share']} | | | {found} | 0 |"
    low, high = row["interval"]
    goal = target(row)
    wanted = "" if goal is None else f"{goal:g}"
    return (
        f"| {row['what']} | {row['share']} | {row['plain_ms']:.2f} | {row['young_ms']:.2f} | "
        f"{row['ratio']:.2f} ({low:.2f} to {high:.2f}) | {wanted} |"
    )


def main() -> None:
    """Measure what is missing, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="lines whose name and share contain this")
    given = parser.parse_args()
    torch.set_num_threads(1)
    there = None if given.out is None else given.out / "summary.json"
    rows: list[dict[str, Any]] = []
    if there is not None and there.exists():
        rows = json.loads(there.read_text())["rows"]
    head = [
        "| optimizer | young | plain step (ms) | with young (ms) | ratio (fused: correction / loop form) | at most |",
        "|:--|:--|--:|--:|--:|--:|",
    ]
    wanted = [
        *((measure_steps, k, f, s, "") for f in FORMS for k in KINDS for s in SHARES),
        *((measure_loop, k, f, "100 %", "MLP at batch 1, ") for f in FORMS for k in KINDS),
    ]
    for measure, kind, form, share, kept in wanted:
        name = f"{kept}{kind}, {form}"
        known = [row for row in rows if (row["what"], row["share"]) == (name, share)]
        if not known and given.only in f"{name} {share}":
            known = [measure(kind, form, share, given.pairs)]
            rows += known
            if given.out is not None:
                write_results(given.out, {"rows": rows, "threads": 1}, [*head, *map(line, rows)])
        for row in known:
            print(line(row), flush=True)


if __name__ == "__main__":
    main()
