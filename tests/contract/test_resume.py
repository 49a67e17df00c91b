"""Interrupted and resumed is uninterrupted, bit for bit: every recipe, every optimizer, with a scaler and without."""

import copy
import functools
import inspect
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from contract.rows import DATA, FEW, RECIPES, VARIANTS, wiring_of
from crossed import crossed, seldom
from regrow.graph import Wiring
from surgery.rows import ROWS

EXAMPLE = torch.zeros(2, 1, 8, 8)
STEPS = 20
Batches = list[tuple[torch.Tensor, torch.Tensor]]
ONE_OF_A_KIND = {row.kind: name for name, row in reversed(ROWS.items())}
OPTIMIZERS = seldom(ROWS, often=ONE_OF_A_KIND.values())
SCALED = ("SGD momentum", "Adam")
CUTS = (4, 6, 13)
"""Steps before which a training is interrupted."""


class Run:
    """A training that can be saved and loaded whole."""

    def __init__(self, model: nn.Module, recipe: str, optimizer: str, *, scaled: bool) -> None:
        row, self.optimizer_row = VARIANTS[recipe], ROWS[optimizer]
        self.model = model
        self.optimizer = self.optimizer_row.make(list(model.parameters()))
        if scaled:
            for group in self.optimizer.param_groups:
                group["fused"] = True
        self.scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=4.0, growth_interval=3)
        self.regrower = regrow.attach(
            *(row.make(**row.acts), model, self.optimizer),
            wiring=wiring_of(model),
            total_steps=STEPS,
            steps_per_epoch=5,
            seed=3,
            **DATA,
        )

    @property
    def parts(
        self,
    ) -> list[nn.Module | torch.optim.Optimizer | torch.amp.GradScaler | regrow.Regrower]:
        return [self.model, self.optimizer, self.scaler, self.regrower]

    def train(self, batches: Batches, *, start: int = 0) -> "Run":
        for step, (images, labels) in enumerate(batches[start:], start):
            self.optimizer_row.vary(self.optimizer, step)
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(images), labels)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return self

    def tensors(self) -> list[torch.Tensor]:
        memory = [
            value
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        ]
        return [*self.model.state_dict().values(), *memory]


def _judge(
    recipe: str,
    optimizer: str,
    make: Callable[[int], nn.Module],
    batches: Batches,
    *,
    cut: int,
    scaled: bool = False,
) -> None:
    whole = Run(make(0), recipe, optimizer, scaled=scaled).train(batches)
    assert whole.regrower.report.renewed
    first = Run(make(0), recipe, optimizer, scaled=scaled).train(batches[:cut])
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first.parts], file)
    file.seek(0)
    second = Run(make(1), recipe, optimizer, scaled=scaled)
    for part, state in zip(second.parts, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    second.train(batches, start=cut)
    assert whole.regrower.report.events == second.regrower.report.events
    for mine, other in zip(whole.tensors(), second.tensors(), strict=True):
        # Some of these trainings blow up, and NaN is not equal to itself: bits are.
        assert torch.equal(mine.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


@pytest.mark.parametrize(("recipe", "optimizer", "cut"), crossed(RECIPES, OPTIMIZERS, CUTS))
def test_every_recipe_with_every_optimizer(
    recipe: str,
    optimizer: str,
    cut: int,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    _judge(recipe, optimizer, small_cnn, batches(STEPS), cut=cut)


@pytest.mark.parametrize(
    ("recipe", "optimizer", "cut"), crossed(FEW, SCALED, seldom(CUTS, often=CUTS[:2]))
)
def test_every_recipe_with_a_scaler_and_a_fused_optimizer(
    recipe: str,
    optimizer: str,
    cut: int,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    _judge(recipe, optimizer, small_cnn, batches(STEPS), cut=cut, scaled=True)


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "preserve": (
        {"preserve": True},
        {"calibration_inputs": torch.ones(9, 1, 8, 8).cumsum(-1)},
    ),
    "zeroed readers": ({"readers": "zero"}, {}),
    "redrawn readers": ({"readers": "redraw"}, {}),
    "stream": ({"readers": "zero"}, {"coupled": "stream"}),
    "inner": ({"readers": "zero"}, {"coupled": "inner"}),
    "linear layers too": ({}, {"layers": ("conv", "linear")}),
}


class Branch(nn.Module):
    """A stream of four channels with one block on it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3, padding=1)
        self.norm, self.b = nn.BatchNorm2d(5), nn.Conv2d(5, 4, 3, padding=1)
        self.inner, self.head = nn.Linear(4 * 36, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = (x + self.b(self.norm(self.a(x)).relu())).relu()
        return self.head(self.inner(x.flatten(1)).relu())


@functools.cache
def _branch() -> Wiring:
    return regrow.trace(Branch(), EXAMPLE)


@pytest.mark.parametrize(
    ("recipe", "way", "closures", "cut"),
    crossed(
        seldom(
            [*RECIPES, "randomout by silence", "repr by activations", "repr by taylor"],
            often=[
                "randomout",
                "keepalive",
                "repr by activations",
                "repr by taylor",
                "redo",
                "random",
            ],
        ),
        WAYS,
        [False, True],
        CUTS[1:],
    ),
)
def test_every_recipe_in_every_way(
    recipe: str, way: str, closures: bool, cut: int, batches: Callable[[int], Batches]
) -> None:
    """Two optimizers, a companion, and each way to attach; with closures and without."""
    settings, told = WAYS[way]
    row = VARIANTS[recipe]
    known = inspect.signature(row.make).parameters  # scions always leave the readers alone
    settings = {name: value for name, value in settings.items() if name in known}

    def start(seed: int) -> tuple[Any, ...]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Branch()
        row.prepare(model)
        copied = copy.deepcopy(model)
        named = dict(model.named_parameters())
        own = [named[name] for name in named if name.startswith(("a", "norm"))]
        others = [named[name] for name in named if not name.startswith(("a", "norm"))]
        optimizers = [torch.optim.NAdam(own, lr=0.01), torch.optim.SGD(others, 0.05, momentum=0.9)]
        acts = dict(row.acts)
        if recipe == "random":
            acts["like"] = [
                replace(event, layer={"0": "a", "3": "a"}[event.layer]) for event in acts["like"]
            ]
        regrower = regrow.attach(
            *(row.make(**{**acts, **settings}), model, optimizers),
            wiring=_branch(),
            total_steps=STEPS,
            steps_per_epoch=5,
            companions=[copied],
            **{**DATA, **told},
        )
        return model, copied, *optimizers, regrower

    def train(parts: tuple[Any, ...], some: Batches) -> None:
        model, _, first, second, _ = parts
        for images, labels in some:

            def closure(x: torch.Tensor = images, y: torch.Tensor = labels) -> torch.Tensor:
                first.zero_grad()
                second.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                return loss

            if closures:
                first.step(closure)
                second.step(closure)
            else:
                closure()
                first.step()
                second.step()

    whole = start(0)
    train(whole, batches(STEPS))
    assert whole[-1].report.renewed
    first, second = start(0), start(1)
    train(first, batches(STEPS)[:cut])
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(second, batches(STEPS)[cut:])
    assert whole[-1].report.events == second[-1].report.events
    for mine, other in zip(whole[:2], second[:2], strict=True):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
