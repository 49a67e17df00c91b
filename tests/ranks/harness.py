"""What the scenarios of train_ddp share: a network, each rank's own images, and a bitwise comparison of all ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import regrow
from contract.counting import Counting
from regrow.errors import ConfigError
from traced import attach_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)
STEPS = 12


class Net(nn.Module):
    """Two convolutions with a norm, and a branch that not every forward pass uses: the one with the example does."""

    wired_as_shown = True

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.second, self.side = nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3)
        self.head = nn.Linear(6 * 16, 3)
        self.use_side = True

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores."""
        inner = self.norm(self.first(images)).relu()
        outer = self.second(inner)
        if self.use_side:
            outer = outer + self.side(inner)
        return self.head(outer.relu().flatten(1))


def batch(step: int, *, rank: int, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """This rank's own images."""
    generator = torch.Generator().manual_seed(1000 * step + rank)
    images = torch.randn(size, 1, 8, 8, generator=generator)
    return images, torch.randint(0, 3, (size,), generator=generator)


def build(
    *,
    adam: bool = False,
    recipe: dict[str, Any] | None = None,
    attach: bool = True,
    counting: bool = False,
    **ddp: Any,
) -> tuple[DistributedDataParallel, torch.optim.Optimizer, regrow.Regrower | None]:
    """The same network on every rank, wrapped, with a recipe that renews living filters often."""
    torch.manual_seed(dist.get_rank())  # torch's own generator differs from rank to rank
    model = DistributedDataParallel(Net(), **ddp)
    optimizer = (
        torch.optim.Adam(model.parameters(), lr=0.01)
        if adam
        else torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    )
    settings = {"threshold": 0.3, "every_steps": 2, "active_fraction": 1.0, **(recipe or {})}
    if not attach:
        return model, optimizer, None
    chosen = regrow.RandomOut(confirm="gradient", **settings)
    if counting:
        chosen = chosen.with_parts(criterion=Counting(chosen.criterion))
    return model, optimizer, attach_traced(chosen, model, optimizer, example_inputs=EXAMPLE, seed=3)


def backward(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One loss and its gradient."""
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return loss


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> None:
    """Plain training on each rank's own images."""
    for step in range(steps):
        optimizer.zero_grad()
        backward(model, *batch(step, rank=dist.get_rank()))
        optimizer.step()


def tensors_in(thing: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every number of a saved state, as tensors."""
    if isinstance(thing, torch.Tensor):
        yield path, thing.detach().reshape(-1).to(torch.float64)
    elif isinstance(thing, dict):
        for key, value in thing.items():
            if key != "seconds":  # time that was spent: each rank has its own
                yield from tensors_in(value, f"{path}/{key}")
    elif isinstance(thing, list | tuple):
        for index, value in enumerate(thing):
            yield from tensors_in(value, f"{path}/{index}")
    elif isinstance(thing, int | float) and not isinstance(thing, bool):
        yield path, torch.tensor([thing], dtype=torch.float64)


def differing(thing: Any) -> list[str]:
    """The parts of a state that are not bit-identical on all ranks."""
    mine = dict(tensors_in(thing))
    bits = {path: value.view(torch.int64).tolist() for path, value in mine.items()}
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, bits)
    return sorted(
        {
            path
            for other in everyone
            for path in {*other, *bits}
            if other.get(path) != bits.get(path)
        }
    )


def outcome(
    model: DistributedDataParallel, optimizer: torch.optim.Optimizer, regrower: regrow.Regrower
) -> dict[str, Any]:
    """What the test looks at."""
    return {
        "parameters": differing(dict(model.module.named_parameters())),
        "optimizer": differing(optimizer.state_dict()["state"]),
        "regrower": differing(regrower.state_dict()),
        "running": differing(dict(model.module.named_buffers())),
        "finite": all(bool(value.isfinite().all()) for value in model.parameters()),
        "steps": regrower.report.steps,
        "renewed": regrower.report.renewed,
        "layers": sorted({event.layer for event in regrower.report.events}),
        "checks": regrower.report.checks,
        "nonfinite": regrower.report.nonfinite,
    }


@contextlib.contextmanager
def refusal() -> Iterator[list[str]]:
    """The messages of all ranks, in their order, of what is raised inside."""
    told: list[str] = []
    try:
        yield told
    except ConfigError as error:
        told.append(str(error))
    messages: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(messages, told[0] if told else "")
    told[:] = messages
