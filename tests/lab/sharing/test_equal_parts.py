"""Trials are one run where their recipes' parts are equal, whatever the parts print; members keep their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from regrow.compose import Recipe, RecipeInfo
from regrow.criteria import WeightNorm
from regrow.lab.plan import plan
from regrow.lab.sharing import Crew, families
from regrow.recipes import _registry
from regrow.renewal import Redraw
from regrow.schedule import Clock, Every
from regrow.selection import Selection
from regrow.study.document import Study

MakeStudy = Callable[..., Study]


@dataclass(frozen=True)
class Hidden(WeightNorm):
    """A criterion of which two look alike."""

    scale: float = field(default=1.0, repr=False)


@dataclass(frozen=True)
class HiddenBelow(Selection):
    """A selection of which two look alike."""

    threshold: float = field(default=1.0, repr=False)

    def __call__(
        self, scores: Mapping[str, Tensor], *, eligible: Mapping[str, Tensor], step: int
    ) -> dict[str, Tensor]:
        return {layer: (scores[layer] < self.threshold) & free for layer, free in eligible.items()}


INFO = RecipeInfo(name="hidden", title="", paper="", year=2026, url="", summary="", differs=())


def make(*, scale: float = 1.0, threshold: float = 1.0) -> Recipe:
    return Recipe(
        info=INFO,
        criterion=Hidden(scale=scale),
        select=HiddenBelow(threshold),
        renew=Redraw(),
        when=Every(steps=1),
    )


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe is known for the length of one test."""
    entry = _registry._Entry(INFO, make)
    monkeypatch.setitem(_registry._ENTRIES, "hidden", entry)


def arm(**settings: Any) -> dict[str, Any]:
    return {"recipe": "hidden", "settings": settings}


@pytest.mark.usefixtures("hidden")
def test_criteria_that_print_alike_and_differ_are_not_one_family(study: MakeStudy) -> None:
    assert repr(Hidden(scale=1.0)) == repr(Hidden(scale=2.0))
    arms = {"a": arm(scale=1.0), "b": arm(scale=2.0), "c": arm(scale=1.0, threshold=3.0)}
    found = families(plan(study(arms=arms, seeds=[0])).trials)
    assert [[spec.label for spec in members] for members in found] == [["a", "c"], ["b"]]


@pytest.mark.usefixtures("hidden")
def test_selections_that_print_alike_and_differ_are_asked_apart(study: MakeStudy) -> None:
    arms = {"a": arm(threshold=0.0), "b": arm(threshold=3.0), "c": arm(threshold=0.0)}
    (members,) = families(plan(study(arms=arms, seeds=[0])).trials)
    crew = Crew(members, clock=Clock(total_steps=10, steps_per_epoch=5))
    assert [spec.label for spec in crew.members] == ["a", "b", "c"]
    masks = crew(
        {"conv": torch.tensor([1.0, 5.0])},
        eligible={"conv": torch.ones(2, dtype=torch.bool)},
        step=0,
    )
    assert not masks["conv"].any()  # the first member's
    assert [[spec.label for spec in part] for part in crew.left] == [["b"]]
    assert [spec.label for spec in crew.members] == ["a", "c"]


def test_members_are_in_the_order_in_which_they_were_given(study: MakeStudy) -> None:
    def recipe(threshold: float) -> dict[str, Any]:
        return {"recipe": "randomout", "settings": {"threshold": threshold, "confirm": "gradient"}}

    arms = {"a": recipe(1e-8), "b": recipe(1e-4), "c": recipe(1e-8), "d": recipe(1e-4)}
    (members,) = families(plan(study(arms=arms, seeds=[0])).trials)
    crew = Crew(members, clock=Clock(total_steps=10, steps_per_epoch=5))
    assert [spec.label for spec in crew.members] == ["a", "b", "c", "d"]


def test_parts_that_cannot_be_compared_are_not_equal() -> None:
    from regrow.lab.sharing.families import place_of

    parts: list[object] = []
    one, other = (torch.ones(2), "x"), (torch.ones(2), "x")
    assert [place_of(part, parts) for part in (one, other, one)] == [0, 1, 0]
