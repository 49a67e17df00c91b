"""Where the user says that the task changes: recipes for filters that act there, and those that have no use for it."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

import regrow
import regrow.errors
from loop.loops import EXAMPLE, Batches, adam, assert_same_bits
from regrow.history import Report
from regrow.schedule import AtBoundary

Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]


def at_boundaries() -> regrow.Recipe:
    """Somebody gives no more than the mean: it renews whenever it looks."""
    return regrow.ReDo(threshold=1.0).with_parts(when=AtBoundary())


def start(model: nn.Module, recipe: regrow.Recipe) -> tuple[torch.optim.Optimizer, regrow.Regrower]:
    optimizer = adam(model)
    return optimizer, regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE)


def go(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    regrower: regrow.Regrower,
    batches: Batches,
    *,
    boundaries: tuple[int, ...] = (),
    begin: int = 0,
) -> None:
    for step, (images, labels) in enumerate(batches[begin:], begin):
        if step in boundaries:
            regrower.boundary()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def test_filters_are_chosen_in_the_first_step_of_the_new_task(
    small_cnn: Cnn, batches: Some
) -> None:
    model = small_cnn(0)
    optimizer, regrower = start(model, at_boundaries())
    go(model, optimizer, regrower, batches(12), boundaries=(4, 9))
    assert {event.step for event in regrower.report.events} == {4, 9}
    assert regrower.report.checks == regrower.report.boundaries == 2
    assert regrower.report.network_changes == 0
    assert "2 boundaries between tasks were told" in str(regrower.report)


def test_saved_between_a_boundary_and_its_step(small_cnn: Cnn, batches: Some) -> None:
    whole = small_cnn(0)
    go(whole, *start(whole, at_boundaries()), batches(12), boundaries=(4, 9))
    first = small_cnn(0)
    optimizer, regrower = start(first, at_boundaries())
    go(first, optimizer, regrower, batches(4))
    regrower.boundary()
    file = io.BytesIO()
    torch.save([each.state_dict() for each in (first, optimizer, regrower)], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    second = small_cnn(1)
    parts = start(second, at_boundaries())
    for each, state in zip((second, *parts), states, strict=True):
        each.load_state_dict(state)
    go(second, *parts, batches(12), boundaries=(9,), begin=4)
    assert_same_bits(whole.state_dict(), second.state_dict())
    assert {event.step for event in parts[1].report.events} == {4, 9}
    parts[1].load_state_dict(states[2] | {"at_boundary": False})  # a state of another time
    parts[1].boundary()
    assert parts[1].report.boundaries == 2


def test_a_boundary_that_a_loaded_state_does_not_know_is_forgotten(
    small_cnn: Cnn, batches: Some
) -> None:
    """A training goes back to before a boundary, which then does not come again."""
    model = small_cnn(0)
    parts = start(model, at_boundaries())
    go(model, *parts, batches(4))
    states = [copy.deepcopy(each.state_dict()) for each in (model, *parts)]
    go(model, *parts, batches(6), begin=4)
    parts[1].boundary()
    for each, state in zip((model, *parts), states, strict=True):
        each.load_state_dict(state)
    go(model, *parts, batches(12), begin=4)
    assert parts[1].report.events == []
    assert parts[1].report.steps == 12


@pytest.mark.parametrize(
    "recipe",
    [regrow.RandomOut(active_fraction=1.0), regrow.KeepAlive(), regrow.ReDo(every_steps=3)],
    ids=lambda recipe: recipe.info.name,
)
def test_who_has_no_use_for_it_takes_no_notice(
    recipe: regrow.Recipe, small_cnn: Cnn, batches: Some
) -> None:
    told, plain = small_cnn(0), small_cnn(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=regrow.errors.GuardWarning)
        optimizer, regrower = start(told, recipe)
        go(told, optimizer, regrower, batches(8), boundaries=(2, 5))
        other = start(plain, recipe)
        go(plain, *other, batches(8))
    assert_same_bits(told.state_dict(), plain.state_dict())
    assert regrower.report.boundaries == 2
    saved = regrower.state_dict()
    other[1].load_state_dict(saved)
    assert other[1].report.boundaries == 2


def test_a_report_without_boundaries_says_nothing_of_them() -> None:
    assert "boundar" not in str(Report(recipe="redo", layers={}))
    assert "boundaries" not in Report(recipe="redo", layers={}).saved()
