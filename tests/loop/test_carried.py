"""The regrower's state in its optimizer's: whoever saves and loads the optimizer resumes the regrower."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.errors import ConfigError
from traced import attach_traced

IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(16) % 3
STEPS = 12


def _recipe() -> regrow.Recipe:
    return regrow.RandomOut(confirm="gradient", threshold=0.1, active_fraction=0.7)


def _parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def _attach(model: nn.Module, optimizer: object, **options: Any) -> regrow.Regrower:
    options = {"total_steps": STEPS, "state_in_optimizer": True, **options}
    return attach_traced(_recipe(), model, optimizer, example_inputs=IMAGES[:2], **options)


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()


def _through_a_file(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
    """As every trainer saves them: nobody has heard of a regrower."""
    file = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def _bits(model: nn.Module) -> list[Tensor]:
    return [each.detach().clone() for each in model.state_dict().values()]


@pytest.fixture(scope="module")
def whole() -> tuple[list[Tensor], regrow.Report]:
    """A training that nobody has interrupted, with its state in the hands of the user."""
    model, optimizer = _parts()
    regrower = _attach(model, optimizer, state_in_optimizer=False)
    _train(model, optimizer, STEPS)
    assert regrower.report.events[-1].step > 5  # also behind the interruption
    return _bits(model), regrower.report


@pytest.mark.parametrize("attached", ["before the load", "after the load"])
def test_it_is_resumed_with_the_optimizer(attached: str, whole: Any) -> None:
    model, optimizer = _parts()
    _attach(model, optimizer)
    _train(model, optimizer, 5)
    weights, state = _through_a_file(model, optimizer)

    model, optimizer = _parts()
    regrower = _attach(model, optimizer) if attached == "before the load" else None
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    regrower = regrower or _attach(model, optimizer)
    assert regrower.report.steps == 5
    assert set(optimizer.param_groups[0]) == set(_parts()[1].param_groups[0])  # nothing is left
    _train(model, optimizer, STEPS - 5)
    assert all(map(torch.equal, _bits(model), whole[0]))
    assert regrower.report.events == whole[1].events


def test_an_optimizer_at_work_has_nothing_of_it() -> None:
    """Schedulers, loggers and ``repr`` see the groups as they are without."""
    model, optimizer = _parts()
    plain = repr(optimizer)
    _attach(model, optimizer)
    _train(model, optimizer, 2)
    optimizer.state_dict()
    assert repr(optimizer) == plain
    assert "regrow" not in repr(copy.deepcopy(optimizer))


def test_without_it_the_optimizer_loads_what_was_saved_with_it() -> None:
    model, optimizer = _parts()
    _attach(model, optimizer)
    _train(model, optimizer, 2)
    _, state = _through_a_file(model, optimizer)
    model, optimizer = _parts()
    optimizer.load_state_dict(state)
    _train(model, optimizer, 1)


def test_two_recipes_travel_together() -> None:
    model, optimizer = _parts()
    _attach(model, optimizer)
    noise = regrow.NoiseScion()
    more: dict[str, Any] = {
        "example_inputs": IMAGES[:2],
        "state_in_optimizer": True,
        "steps_per_epoch": 3,
        "total_steps": STEPS,
    }
    regrow.attach(noise, model, optimizer, **more)
    _train(model, optimizer, 4)
    weights, state = _through_a_file(model, optimizer)
    assert set(state["param_groups"][0]["regrow"]) == {"randomout", noise.info.name}
    model, optimizer = _parts()
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    one, two = _attach(model, optimizer), regrow.attach(noise, model, optimizer, **more)
    assert one.report.steps == two.report.steps == 4
    assert "regrow" not in optimizer.param_groups[0]


def test_a_recipe_that_has_been_detached_is_gone_on_with() -> None:
    """The optimizer remembers, and so does the regrower: the entries that are young in it are."""
    model, optimizer = _parts()
    first = _attach(model, optimizer)
    _train(model, optimizer, 4)
    first.detach()
    second = _attach(model, optimizer)
    assert second.report.steps == 4
    assert second.report.events == first.report.events
    _train(model, optimizer, 1)
    _, state = _through_a_file(model, optimizer)
    assert state["param_groups"][0]["regrow"]["randomout"]["state"]["step"] == 5


@pytest.mark.filterwarnings("ignore:the recipe 'randomout' is at work")
def test_one_at_work_keeps_its_place() -> None:
    model, optimizer = _parts()
    _attach(model, optimizer)
    with pytest.raises(ConfigError, match=r"call the first regrower's detach\(\) before"):
        _attach(model, optimizer)


def test_of_several_optimizers_the_last_one_has_it() -> None:
    model, _ = _parts()
    body = torch.optim.AdamW(model[0].parameters(), lr=0.01)
    head = torch.optim.AdamW(model[3].parameters(), lr=0.01)
    _attach(model, [body, head])
    assert "regrow" not in body.state_dict()["param_groups"][0]
    assert "regrow" in head.state_dict()["param_groups"][0]
