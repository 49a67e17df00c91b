"""A step in which nothing is renewed costs next to nothing: counted in tensor operations, for every recipe.

What torch dispatches in a training step is counted with a recipe attached and without. The differences are stated here,
so that nothing is added to them unnoticed. A recipe that has renewed filters goes on to correct the optimizer's steps
for them, if the optimizer needs that: this is about the steps before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from contract.partner_rows import EACH as EACH_PARTNER
from contract.partner_rows import VARIANTS as PARTNER_VARIANTS
from contract.rows import BY_SILENCE, DATA, EACH, VARIANTS
from crossed import crossed, pairs
from partners.nets import Plain
from traced import attach_partners_traced, attach_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)
Cnn = Callable[[int], nn.Module]
Batches = Callable[[int], list[tuple[Tensor, Tensor]]]

FIRST = {name: 4 if name.endswith("scion") else 5 for name in VARIANTS} | {
    name: 3 for name in VARIANTS if name.startswith("repr")
}
FIRST["redo"] = 4  # in the step before it gets ready to read the passes
"""The step at which a row acts for the first time, or would if there were a dead filter."""

LOOKS = dict.fromkeys(BY_SILENCE, ((0, 11), (0, 7)))
"""Rows that look at the sizes of gradients in every step: operations in passes and steps of two layers, and of one."""

LOOKS["partial-reset"] = ((0, 32), (0, 16))  # it averages the gradients of every step
# They read every pass, and average, or count.
LOOKS["continual-backprop"] = ((53, 51), (19, 27))
LOOKS["self-normalized-resets"] = ((56, 69), (22, 37))
LOOKS["self-normalized-resets, as published"] = ((53, 53), (19, 29))

FINDS_NOTHING: dict[str, tuple[dict[str, Any], list[int]]] = {
    "randomout": ({"threshold": 0.0, "every_steps": 1}, [12] * 6),
    "noise-scion": ({"threshold": 0.0}, [0, 0, 0, 0, 14, 0]),
    "internal-scion": ({"threshold": 0.0}, [0, 0, 0, 0, 14, 0]),
    "random": ({"like": ()}, [0] * 6),
}
"""Settings with which nothing is ever selected, and the operations of six steps; RePr always takes its share."""


@pytest.fixture(autouse=True)
def nothing_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where anything was compiled in this process, by a test before, every pass that is read is run once more."""
    if (frames := sys.modules.get("torch._dynamo.convert_frame")) is not None:
        monkeypatch.setattr(frames, "FRAME_COUNTER", 0)


class Counter(TorchDispatchMode):
    """Counts the operations that are dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count, and call."""
        del types
        self.count += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Cost:
    """Operations of one training step: of the passes, and inside the optimizer's step."""

    passes: int
    step: int

    def __sub__(self, other: Cost) -> tuple[int, int]:
        """What the first costs more."""
        return self.passes - other.passes, self.step - other.step


def costs(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches, steps: int
) -> list[Cost]:
    """One entry a step."""
    found: list[Cost] = []
    for images, labels in batches(steps):
        optimizer.zero_grad()
        with Counter() as passes:
            F.cross_entropy(model(images), labels).backward()
        with Counter() as step:
            optimizer.step()
        found.append(Cost(passes.count, step.count))
    return found


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.001),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model in training, with a recipe or without."""

    small_cnn: Cnn
    batches: Batches
    optimizer: str = "sgd"
    frozen: bool = False

    def cost(self, row: str | None, steps: int, **settings: Any) -> list[Cost]:
        """Of each step."""
        model = self.small_cnn(0)
        model[0].requires_grad_(not self.frozen)  # type: ignore[index]
        optimizer = OPTIMIZERS[self.optimizer](model)
        if row is not None:
            recipe = VARIANTS[row].make(**{**VARIANTS[row].acts, **settings})
            attach_traced(
                recipe.with_parts(guard=None),  # what a guard costs is its own, in every step
                model,
                optimizer,
                example_inputs=EXAMPLE,
                total_steps=20,
                steps_per_epoch=5,
                **DATA,
            )
        return costs(model, optimizer, self.batches, steps)

    def beyond(self, row: str, steps: int, **settings: Any) -> list[tuple[int, int]]:
        """What each step costs more with the recipe."""
        pairs = zip(self.cost(row, steps, **settings), self.cost(None, steps), strict=True)
        return [one - other for one, other in pairs]


@pytest.mark.parametrize(
    ("row", "frozen", "optimizer"), crossed(EACH, pairs([False, True], OPTIMIZERS))
)
def test_a_step_before_anything_is_due(
    row: str, frozen: bool, optimizer: str, small_cnn: Cnn, batches: Batches
) -> None:
    """No operation; nor where a layer waits to be unfrozen."""
    case = Case(small_cnn=small_cnn, batches=batches, optimizer=optimizer, frozen=frozen)
    both, one = LOOKS.get(row, ((0, 0), (0, 0)))
    # The step 0 of a criterion that reads the passes is one in which it looks at all of them.
    assert case.beyond(row, FIRST[row])[1:] == [one if frozen else both] * (FIRST[row] - 1)


@pytest.mark.parametrize("row", FINDS_NOTHING)
def test_a_step_that_finds_nothing(row: str, small_cnn: Cnn, batches: Batches) -> None:
    """A few operations for all layers together: their scores, and one comparison."""
    settings, expected = FINDS_NOTHING[row]
    found = Case(small_cnn=small_cnn, batches=batches).beyond(row, 6, **settings)
    assert found == [(0, count) for count in expected]


@pytest.mark.parametrize("row", [row for row in EACH if row.values[0].startswith("repr")])
def test_a_step_in_which_filters_are_out(row: str, small_cnn: Cnn, batches: Batches) -> None:
    """Their gradients are cleared as they come, one operation a tensor; the step itself costs next to nothing."""
    found = Case(small_cnn=small_cnn, batches=batches).beyond(row, 6)[5]
    assert 0 < found[0] <= 9, found  # weights, biases, norm entries, and what reads them
    assert found[1] <= 4, found


@pytest.mark.parametrize("name", EACH_PARTNER)
def test_partners_between_two_meetings(name: str, batches: Batches) -> None:
    """No operation."""
    row, found = PARTNER_VARIANTS[name], list[list[Cost]]()
    for attached in (True, False):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            models = [Plain() for _ in range(2)]
        optimizers = [OPTIMIZERS["sgd"](model) for model in models]
        if attached:
            attach_partners_traced(
                row.make(**{**row.acts, "partners": 2}),
                models,
                optimizers,
                example_inputs=EXAMPLE,
                steps_per_epoch=5,
            )
        found.append(
            [
                each
                for pair in zip(models, optimizers, strict=True)
                for each in costs(*pair, batches, 4)
            ]
        )
    assert found[0] == found[1]
