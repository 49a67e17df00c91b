"""Interrupted and resumed is uninterrupted, bit for bit: every recipe, every optimizer, with a scaler and without."""

import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

import regrow
from contract.rows import RECIPES
from surgery.rows import ROWS

EXAMPLE = torch.zeros(2, 1, 8, 8)
STEPS = 20
Batches = list[tuple[torch.Tensor, torch.Tensor]]
QUICK = {
    next(name for name, row in ROWS.items() if row.kind is kind)
    for kind in {r.kind for r in ROWS.values()}
}
CASES = [
    pytest.param(recipe, optimizer, marks=() if optimizer in QUICK else pytest.mark.slow)
    for recipe in RECIPES
    for optimizer in ROWS
]
SCALED = ("SGD momentum", "Adam")


class Run:
    """A training that can be saved and loaded whole."""

    def __init__(self, model: nn.Module, recipe: str, optimizer: str, *, scaled: bool) -> None:
        row, self.optimizer_row = RECIPES[recipe], ROWS[optimizer]
        self.model = model
        self.optimizer = self.optimizer_row.make(list(model.parameters()))
        if scaled:
            for group in self.optimizer.param_groups:
                group["fused"] = True
        self.scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=4.0, growth_interval=3)
        self.regrower = regrow.attach(
            *(row.make(**row.acts), model, self.optimizer),
            example_inputs=EXAMPLE,
            total_steps=STEPS,
            steps_per_epoch=5,
            seed=3,
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
    scaled: bool = False,
) -> None:
    whole = Run(make(0), recipe, optimizer, scaled=scaled).train(batches)
    assert whole.regrower.report.renewed
    for cut in (4, 6, 13):
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
            assert torch.equal(mine, other)


@pytest.mark.parametrize(("recipe", "optimizer"), CASES)
def test_every_recipe_with_every_optimizer(
    recipe: str,
    optimizer: str,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    _judge(recipe, optimizer, small_cnn, batches(STEPS))


@pytest.mark.parametrize("optimizer", SCALED)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_with_a_scaler_and_a_fused_optimizer(
    recipe: str,
    optimizer: str,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    _judge(recipe, optimizer, small_cnn, batches(STEPS), scaled=True)
