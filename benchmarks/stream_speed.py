"""Streams of tasks on one core: stacks against plain modules, in the laboratory and in a loop without it.

The shapes of `studies/streams-memo400.toml` and `studies/streams-cmemo300.toml`, of the former with layer norm and with
leaky ReLUs too; random images and labels, Adam, batches of 50, float32. In its turn a variant trains the same four
networks through one task. Of the laboratory's turn all counts but the first epoch, with which a trial's preparations
are paid, that a stream of 16 or 25 tasks makes once: the health report at the task's end counts.

* loop: what a user would write, `cross_entropy`, `backward`, `torch.optim.Adam.step`, and the right answers counted
* modules, stack: the laboratory with either engine
* products: the matrix products of these steps alone, which no arrangement of the rest can save

All take turns, round by round; each round gives ratios of its own, of which the table has the medians. Times are
processor time, which a busy machine disturbs least; what was measured on one says so.

    OMP_NUM_THREADS=1 python benchmarks/stream_speed.py [--rounds 15] [--out results/stream-speed]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from written import write_results

from regrow.engine import program_of
from regrow.engine.steps import Conv2dStep, LinearStep
from regrow.lab.assembly import build_model, build_optimizer
from regrow.lab.config import Overrides, load_plan
from regrow.lab.data import Dataset
from regrow.lab.trial import Request, train_together
from regrow.streams import tasks
from regrow.study.document import EngineName
from regrow.study.records import TrialResult
from regrow.study.trials import TrialSpec

NETWORKS = 4
STUDIES = Path(__file__).resolve().parents[1] / "studies"
LOOP, MODULES, STACK, PRODUCTS = "loop", "modules", "stack", "products"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and a stream.

    Attributes:
        name: As in the table.
        study: Whose they are.
        shape: Of an image.
        arm: Which arm is trained.
        model: Settings of the network that differ from the study's.
        goal: The loop's time over the stack's; None: none.
    """

    name: str
    study: str
    shape: tuple[int, int, int]
    arm: str = "none"
    model: Mapping[str, object] = field(default_factory=dict[str, object])
    goal: float | None = None


MEMO, CMEMO = ("streams-memo400", (1, 14, 14)), ("streams-cmemo300", (3, 16, 16))
CASES = (
    Case(name="memo400", study=MEMO[0], shape=MEMO[1], goal=3.0),
    Case(name="memo400, layer norm", study=MEMO[0], shape=MEMO[1], model={"norm": "layer"}),
    Case(
        name="memo400, leaky ReLU",
        study=MEMO[0],
        shape=MEMO[1],
        model={"activation": "leaky_relu"},
    ),
    Case(name="memo400, RandomOut", study=MEMO[0], shape=MEMO[1], arm="randomout"),
    Case(name="memo400, ReDo", study=MEMO[0], shape=MEMO[1], arm="redo"),
    Case(name="cmemo300", study=CMEMO[0], shape=CMEMO[1], goal=2.0),
    Case(name="cmemo300, RandomOut", study=CMEMO[0], shape=CMEMO[1], arm="randomout"),
)


class Bench:
    """The trials of a case and its variants; `turn` trains them and returns processor seconds."""

    def __init__(self, case: Case) -> None:
        self.case = case
        generator = torch.Generator().manual_seed(0)

        def drawn(count: int) -> tuple[Tensor, Tensor]:
            images = torch.rand(count, *case.shape, generator=generator)
            return images, torch.randint(10, (count,), generator=generator)

        train, test = drawn(1000), drawn(200)
        self.data = Dataset(
            name="random",
            x_train=train[0],
            y_train=train[1],
            x_test=test[0],
            y_test=test[1],
            classes=tuple("0123456789"),
        )
        asked = Overrides(seeds=NETWORKS, settings=("stream.tasks=1",), recipes=(case.arm,))
        study = load_plan(STUDIES / f"{case.study}.toml", asked)
        # The grid's rate that the study begins with: the same for all, so that one stack has them.
        rate = study.cells[0].name
        self.specs = [
            replace(spec, model=_changed(spec, case.model))
            for spec in study.trials
            if spec.cell == rate
        ]
        self.program = program_of(build_model(self.specs[0], self.data, seed=0))

    @property
    def variants(self) -> list[str]:
        """A recipe has no loop without the laboratory."""
        alone = [LOOP, PRODUCTS] if self.case.arm == "none" else []
        return [MODULES, STACK, *alone]

    @property
    def steps(self) -> int:
        """Of a network in a turn."""
        stream, size = self.specs[0].stream, self.specs[0].train.batch_size
        assert stream is not None
        task = tasks.task(stream, self.data, seed=0, index=0)
        return (stream.epochs or 1) * -(-len(task.images) // size)

    def turn(self, variant: str) -> float:
        """Processor seconds of a network and step."""
        work = self._products() if variant == PRODUCTS else []
        if variant in {STACK, MODULES}:
            return self._laboratory("stack" if variant == STACK else "modules")
        started = time.process_time()
        for spec in self.specs:
            if variant == LOOP:
                self._loop(spec)
            for _ in range(self.steps if variant == PRODUCTS else 0):
                for out, left, right in work:
                    torch.mm(left, right, out=out)
        return (time.process_time() - started) / (NETWORKS * self.steps)

    def _loop(self, spec: TrialSpec) -> float:
        """Plain torch; the share of right answers."""
        model = build_model(spec, self.data, seed=spec.seed)
        optimizer = build_optimizer(spec.train, model)
        stream = spec.stream
        assert stream is not None
        task = tasks.task(stream, self.data, seed=spec.seed, index=0)
        right, seen = 0, 0
        for _ in range(stream.epochs or 1):
            for rows in torch.randperm(len(task.images)).split(spec.train.batch_size):
                outputs = model(task.images[rows])
                loss = F.cross_entropy(outputs, task.labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                right += int((outputs.argmax(1) == task.labels[rows]).sum())
                seen += len(rows)
        return right / seen

    def _laboratory(self, engine: EngineName) -> float:
        """All trials, side by side in a stack: seconds of a network and step from the end of the first epoch on."""
        found: list[TrialResult] = []
        ended: list[float] = []  # each epoch of each network
        train_together(
            [Request(specs=(spec,)) for spec in self.specs],
            self.data,
            engine=engine,
            on_fork=lambda _: None,
            on_epoch=lambda *_: ended.append(time.process_time()),
            on_end=found.extend,
        )
        assert len(found) == NETWORKS
        assert all(each.status == "finished" for each in found)
        steps = len(ended[NETWORKS:]) * self.steps // len(found[0].epochs)
        return (ended[-1] - ended[NETWORKS - 1]) / steps

    def _products(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Memory for each product of a step: forward, gradient of the weights, and of the input but for the images'."""
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        samples = self.specs[0].train.batch_size
        _, height, width = self.case.shape
        for number, step in enumerate(
            step for step in self.program.steps if isinstance(step, Conv2dStep | LinearStep)
        ):
            if isinstance(step, Conv2dStep):
                height, width = step.size_of(height, width)
                features, positions = step.channels * 9, height * width * samples
                assert step.kernel == (3, 3)
            else:
                features, positions = step.features, samples
            weight, given = torch.randn(step.filters, features), torch.randn(features, positions)
            out = torch.randn(step.filters, positions)
            found.append((torch.empty_like(out), weight, given))
            found.append((torch.empty_like(weight), out, given.t()))
            if number:
                found.append((torch.empty_like(given), weight.t(), out))
        return found


def _changed(spec: TrialSpec, settings: Mapping[str, object]) -> Any:
    return spec.model.model_copy(update={"settings": {**spec.model.settings, **settings}})


def measured(case: Case, *, rounds: int) -> dict[str, Any]:
    """Seconds of each variant in each round, interleaved; one round before is not counted."""
    bench = Bench(case)
    names = bench.variants
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(-1, rounds):
        shift = round_ % len(names)
        for name in (*names[shift:], *names[:shift]):
            spent = bench.turn(name)
            if round_ >= 0:
                seconds[name].append(spent)
    return {"case": case.name, "goal": case.goal, "steps": bench.steps, "seconds": seconds}


def ratios(row: Mapping[str, Any], name: str) -> list[float]:
    """A variant's time over the stack's, round by round, sorted."""
    pairs = zip(row["seconds"][name], row["seconds"][STACK], strict=True)
    return sorted(one / stack for one, stack in pairs)


def line(row: Mapping[str, Any]) -> str:
    """One row of the table."""

    def micro(name: str) -> str:
        found = row["seconds"].get(name)
        return "-" if found is None else f"{1e6 * statistics.median(found):,.0f}"

    def times(name: str) -> str:
        if name not in row["seconds"]:
            return "-"
        found = ratios(row, name)
        low, high = found[len(found) // 4], found[3 * len(found) // 4]
        return f"{statistics.median(found):.2f} ({low:.2f} to {high:.2f})"

    cells = (row["case"], micro(LOOP), micro(MODULES), micro(STACK), micro(PRODUCTS))
    return f"| {' | '.join((*cells, times(LOOP), times(MODULES)))} |"


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each goal, and whether it is met."""
    found: list[str] = []
    for row in rows:
        if row["goal"] is None:
            continue
        for name, what in ((LOOP, "the plain loop"), (MODULES, "the laboratory's modules")):
            ratio = statistics.median(ratios(row, name))
            met = "met" if ratio >= row["goal"] else "NOT met"
            found.append(
                f"* {row['case']}: {ratio:.2f} x as fast as {what}, goal {row['goal']:g}: {met}"
            )
        share = statistics.median(ratios(row, PRODUCTS))
        most = statistics.median(
            loop / product
            for loop, product in zip(row["seconds"][LOOP], row["seconds"][PRODUCTS], strict=True)
        )
        found.append(
            f"* {row['case']}: matrix products are {100 * share:.0f} % of the stack's time; nothing but them "
            f"would be {most:.1f} x as fast as the plain loop"
        )
    return found


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loads = [os.getloadavg()[0]]
    rows: list[dict[str, Any]] = []
    for case in CASES:
        rows.append(measured(case, rounds=given.rounds))
        loads.append(os.getloadavg()[0])
        print(line(rows[-1]), flush=True)
    load = f"a load of {min(loads):.0f} to {max(loads):.0f} meanwhile"
    machine = (
        f"One thread, processor time; {os.cpu_count()} cores with {load}. Microseconds of a network and step, "
        f"medians of {given.rounds} rounds; ratios with quartiles."
    )
    head = [
        "case",
        LOOP,
        MODULES,
        STACK,
        "products alone",
        f"{LOOP} / {STACK}",
        f"{MODULES} / {STACK}",
    ]
    table = [machine, "", f"| {' | '.join(head)} |", f"|:--|{'--:|' * (len(head) - 1)}"]
    lines = [*table, *map(line, rows), "", *verdicts(rows)]
    print("\n".join(lines))
    if given.out is not None:
        write_results(given.out, {"rows": rows, "loads": loads, "targets": verdicts(rows)}, lines)


if __name__ == "__main__":
    main()
