"""Continual Backprop's steps in which nothing is due: what is left out there changes no bit of what comes later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import regrow
from regrow.criteria import LayerActivity, Observation, Utility
from regrow.decision import Born
from regrow.selection import RateOfLayer
from traced import attach_traced


class Asked:
    """The criterion, which does not say that it need not be asked in every step."""

    def __init__(self, inner: Utility) -> None:
        self._inner = inner
        self.scored = 0

    def __getattr__(self, name: str) -> Any:
        if name == "is_scored":
            raise AttributeError(name)
        return getattr(self._inner, name)

    def score(self, *args: Any, **named: Any) -> Any:
        self.scored += 1
        return self._inner.score(*args, **named)


def _train(recipe: regrow.Recipe) -> tuple[Any, dict[str, Any], list[torch.Tensor]]:
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 15), nn.Tanh(), nn.Linear(15, 3))
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    x = torch.randn(60, 8, 6, generator=torch.Generator().manual_seed(1))
    regrower = attach_traced(recipe, net, optimizer, example_inputs=x[0])
    for batch in x:
        optimizer.zero_grad()
        F.cross_entropy(net(batch), torch.arange(8) % 3).backward()
        optimizer.step()
    return regrower.report, regrower.state_dict(), [each.detach() for each in net.parameters()]


def test_a_step_in_which_nothing_is_due_asks_for_no_score() -> None:
    recipe = regrow.ContinualBackprop(rate=0.01, maturity=7)
    asked = Asked(recipe.criterion)  # type: ignore[arg-type]
    report, state, weights = _train(recipe)
    other, other_state, other_weights = _train(recipe.with_parts(criterion=asked))
    assert report.events == other.events
    assert len(report.events) > 5
    assert all(map(torch.equal, weights, other_weights))
    for key in ("criteria", "born"):
        assert str(state[key]) == str(other_state[key])
    assert {path: float(each) for path, each in state["selection"].items()} == {
        path: float(each) for path, each in other_state["selection"].items()
    }
    assert asked.scored == 2 * 60


def test_what_is_seen_of_everybody_is_averaged_as_what_is_chosen_entry_by_entry() -> None:
    """Also where a number is none, and where the sum of numbers is none."""
    criterion = Utility(decay=0.9, means=True)
    dice = torch.Generator().manual_seed(3)
    quick: dict[str, torch.Tensor] = {}
    slow: dict[str, torch.Tensor] = {}
    for step in range(9):
        size = torch.rand(5, generator=dice, dtype=torch.float64)
        place = torch.randn(5, 1, generator=dice, dtype=torch.float64)
        if step == 4:
            size[2] = torch.nan
        if step == 5:
            size[:] = 1e308
        if step == 6:
            place[1] = size[1] = torch.inf
        no = torch.zeros(5, dtype=torch.bool)
        activity = LayerActivity(
            seen=~no,
            silent=no,
            starved=no,
            blocked=no,
            examples=4,
            size=size,
            places=(place,),
            lively=True,
        )
        seen = Observation(count=5, outgoing=torch.ones(5), activity=activity)
        quick = criterion.observe(quick, seen)
        slow = criterion.observe(slow, replace(seen, activity=replace(activity, lively=False)))
    assert quick.keys() == slow.keys() == {"utility", "age", "mean.0"}
    assert all(torch.equal(quick[key], slow[key]) for key in quick)
    assert quick["age"].tolist() == [9, 8, 8, 9, 9]


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.4])
def test_a_selection_waits_as_it_chooses(rate: float) -> None:
    select, saved, waited = RateOfLayer(rate=rate), {}, {}
    scores = {"a": torch.arange(7.0), "b": torch.arange(2.0)}
    eligible = {"a": torch.ones(7, dtype=torch.bool), "b": torch.tensor([False, True])}
    for step in range(40):
        before = saved
        saved, masks = select.chosen(saved, scores, eligible=eligible, step=step)
        found = select.waits(before, {"a": 7, "b": 1})
        if found is not None:
            assert masks == {}
            assert found == saved
        waited[found is None] = True
    assert rate == 0 or waited == {True: True, False: True} or rate == 0.4


def test_the_number_before_a_step_is_that_of_a_count() -> None:
    born = Born({"a": torch.tensor([-1, 4, 2, 9, -1]), "b": torch.tensor([3])})
    for _ in range(2):
        for step in range(-1, 12):
            assert born.count_before(step, "a") == int((born["a"] < step).sum())
        born = born.with_({"a": torch.tensor([5, 5, 2, -1, 11])})
    assert born.count_before(4, "b") == 1
