"""Another default dtype, as trainers set around a pass in bfloat16, changes nothing of what is found and renewed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import regrow
from crossed import crossed
from regrow.criteria import Liveness
from regrow.history import Renewed

IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(16) % 3


@pytest.fixture
def default(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    before = torch.get_default_dtype()
    yield request.param
    torch.set_default_dtype(before)


def _trained(dtype: torch.dtype, optimizer: type[torch.optim.Optimizer]) -> list[Renewed]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 16, 3),
        )
    with torch.no_grad():
        model[3].bias[:2] = -100.0
    steps = optimizer(model.parameters(), lr=0.003)  # pyright: ignore[reportCallIssue]
    recipe = regrow.RandomOut(active_fraction=1.0).with_parts(
        criterion=Liveness(threshold=1e-8, steps=3, examples=4)
    )
    regrower = regrow.attach(recipe, model, steps, example_inputs=IMAGES[:2])
    torch.set_default_dtype(dtype)
    for _ in range(8):
        steps.zero_grad()
        nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        steps.step()
    torch.set_default_dtype(torch.float32)
    return regrower.report.events


@pytest.mark.parametrize(
    ("default", "optimizer"),
    crossed([torch.float64, torch.bfloat16], [torch.optim.AdamW, torch.optim.Rprop]),
    indirect=["default"],
)
def test_the_same_is_renewed(default: torch.dtype, optimizer: type[torch.optim.Optimizer]) -> None:
    expected = _trained(torch.float32, optimizer)
    assert expected
    found = _trained(default, optimizer)
    assert [(each.step, each.layer, each.filters) for each in found] == [
        (each.step, each.layer, each.filters) for each in expected
    ]
