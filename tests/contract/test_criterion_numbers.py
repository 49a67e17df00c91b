"""A criterion may keep single numbers beside one entry a filter: they are saved, loaded, and go on."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from contract.counting import Counting, counts
from contract.rows import DATA, FEW, VARIANTS, wiring_of
from regrow.errors import StateError
from regrow.lab.checkpoint import copied, plain

STEPS = 20
Batches = list[tuple[torch.Tensor, torch.Tensor]]
Training = tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower]


def _begin(name: str, model: nn.Module) -> Training:
    row = VARIANTS[name]
    recipe = row.make(**row.acts)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    regrower = regrow.attach(
        recipe.with_parts(criterion=Counting(recipe.criterion)),
        model,
        optimizer,
        wiring=wiring_of(model),
        total_steps=STEPS,
        steps_per_epoch=5,
        seed=3,
        **DATA,
    )
    return model, optimizer, regrower


def _train(training: Training, batches: Batches) -> regrow.Regrower:
    model, optimizer, regrower = training
    for images, labels in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return regrower


@pytest.mark.parametrize("name", FEW)
def test_interrupted_and_resumed_the_numbers_are_those_of_one_run(
    name: str,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    data = batches(STEPS)
    whole = _train(_begin(name, small_cnn(0)), data)
    first = _begin(name, small_cnn(0))
    _train(first, data[:7])
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = _begin(name, small_cnn(1))
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    resumed = _train(second, data[7:])
    found = counts(resumed.state_dict())
    assert found == counts(whole.state_dict())
    assert any(found.values())
    assert resumed.report.events == whole.report.events


def test_a_fork_takes_its_own_copy(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    """As trials of one run do when they part: from a copy in memory, and from one in a file."""
    data = batches(STEPS)
    training = _begin("randomout", small_cnn(0))
    regrower = _train(training, data[:5])
    fork: Any = copied(regrower.state_dict())
    then = counts(fork)
    _train(training, data[5:])
    assert counts(fork) == counts(plain(fork)) == then != counts(regrower.state_dict())
    regrower.load_state_dict(plain(fork))
    assert counts(regrower.state_dict()) == then


@pytest.mark.parametrize("memory", [{"seen": [3]}, {"seen": "3"}, {"seen": torch.zeros(2)}])
def test_what_is_no_number_and_not_of_the_filters_is_refused(
    memory: dict[str, Any], small_cnn: Callable[[int], nn.Module]
) -> None:
    _, _, regrower = _begin("randomout", small_cnn(0))
    state = regrower.state_dict()
    wrong = {**state, "criteria": {**state["criteria"], "3": memory}}
    with pytest.raises(StateError, match="state of '3' is not whole"):
        regrower.load_state_dict(wrong)
