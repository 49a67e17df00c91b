"""What every trainer trains in these tests: a small network, shuffled batches, and a way to be killed."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import regrow
from regrow.criteria import Liveness
from regrow.history import Renewed, Report

BATCH, BATCHES, EPOCHS, ACCUMULATED = 4, 6, 4, 2
STEPS = EPOCHS * BATCHES // ACCUMULATED

_rng = torch.Generator().manual_seed(1)
IMAGES = torch.randn(BATCH * BATCHES, 1, 8, 8, generator=_rng)
LABELS = torch.randint(0, 3, (BATCH * BATCHES,), generator=_rng)


class Network(nn.Module):
    """A small CNN that can be killed: the whole process ends at the start of a training pass."""

    def __init__(self, kill_at: int | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv2d(1, 8, 3),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(8 * 4 * 4, 3),
            )
            # Two filters that nobody hears: dead from the start, and found by their passes.
            with torch.no_grad():
                self.layers[3].bias[:2] = -100.0
        self.left = kill_at

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        if self.left is not None and self.training and torch.is_grad_enabled():
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.layers(x)


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.float(), labels)


def often() -> regrow.Recipe:
    """Renews living filters too, in the first two thirds of a training: half of the steps renew something."""
    return regrow.RandomOut(confirm="gradient", threshold=0.1, active_fraction=0.7)


def dead() -> regrow.Recipe:
    """Finds the two dead filters by the training's own passes."""
    seen = Liveness(threshold=1e-8, steps=4, examples=16)
    return regrow.RandomOut(active_fraction=1.0).with_parts(criterion=seen)


class Batches:
    """The shuffled batches of one epoch after the other; where they stand can be saved in the middle of one."""

    def __init__(self) -> None:
        self.epoch = self.at = 0

    def __len__(self) -> int:
        return BATCHES

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(IMAGES), generator=torch.Generator().manual_seed(self.epoch))
        for number in range(self.at, BATCHES):
            rows = order[number * BATCH : (number + 1) * BATCH]
            # Before the batch is given: nobody need ask for one more behind the last.
            self.epoch, self.at = divmod(self.epoch * BATCHES + number + 1, BATCHES)
            yield IMAGES[rows], LABELS[rows]

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.at = state["epoch"], state["at"]


@dataclass
class Ended:
    """What a training has come to: everything that must be the same bits."""

    weights: dict[str, Tensor]
    optimizer: list[dict[str, Any]]
    steps: int
    events: list[Renewed]

    @classmethod
    def of(cls, model: nn.Module, optimizer: Any, report: Report | None) -> Ended:
        inner = getattr(optimizer, "optimizer", optimizer)
        return cls(
            weights={name: each.detach().clone() for name, each in model.state_dict().items()},
            optimizer=[dict(inner.state[each]) for each in inner.param_groups[0]["params"]],
            steps=0 if report is None else report.steps,
            events=[] if report is None else list(report.events),
        )

    def same_weights(self, other: Ended) -> bool:
        return self.weights.keys() == other.weights.keys() and all(
            torch.equal(each, other.weights[name]) for name, each in self.weights.items()
        )

    def same(self, other: Ended) -> bool:
        """Weights, buffers, the optimizer's moments and counts, and the list of renewals."""
        return (
            self.same_weights(other)
            and (self.steps, self.events) == (other.steps, other.events)
            and all(
                one.keys() == two.keys()
                and all(
                    torch.equal(torch.as_tensor(one[key]), torch.as_tensor(two[key])) for key in one
                )
                for one, two in zip(self.optimizer, other.optimizer, strict=True)
            )
        )


@contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """What trainers warn of on their own is none of these tests' matter."""
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore")
        yield
