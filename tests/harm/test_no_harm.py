"""Nobody who is well is renewed, the dead are found, and who is left alone is named: every situation of the table."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from crossed import seldom
from harm.judge import judge, limit
from harm.oracle import Oracle
from harm.parts import Chance
from harm.recipes import DEFAULT, RECIPES, SLOWEST
from harm.registry import Data, Kill, Situation
from harm.situations import KINDS, SITUATIONS

GRADIENT = "RandomOut(confirm='gradient')"
BY_DEATH = [name for name, case in RECIPES.items() if case.rule == "death" and name != DEFAULT]


OFTEN = {
    *(next(name for name, case in SITUATIONS.items() if case.kind == kind) for kind in KINDS),
    *("depthwise", "slimmable_widths", "stochastic_depth_row", "checkpointing_reentrant"),
}
"""One of each kind, and who alone runs some lines."""


@pytest.mark.parametrize("name", seldom(SITUATIONS, often=OFTEN))
def test_the_default_harms_nobody_and_finds_the_dead(name: str) -> None:
    row = judge(SITUATIONS[name], DEFAULT, RECIPES[DEFAULT])
    assert row["faults"] == []


@pytest.mark.slow
@pytest.mark.parametrize("recipe", BY_DEATH)
@pytest.mark.parametrize("name", SITUATIONS)
def test_no_form_of_it_harms_anybody(name: str, recipe: str) -> None:
    row = judge(SITUATIONS[name], recipe, RECIPES[recipe])
    assert row["faults"] == []


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("zero_head", ("living units renewed",)),
        ("rezero_frozen", ("blocked units renewed",)),
        ("starved_by_a_frozen_layer", ("starved units renewed",)),
        ("l2_in_the_loss", ("never found", "left dead")),
    ],
)
def test_the_judge_is_not_blind(name: str, faults: tuple[str, ...]) -> None:
    as_if = replace(RECIPES[GRADIENT], rule="death")
    row = judge(SITUATIONS[name], GRADIENT, as_if)
    for fault in faults:
        assert any(fault in each for each in row["faults"]), fault


def test_situations_leave_time_for_every_limit() -> None:
    slowest = replace(RECIPES[DEFAULT], see=0, act=SLOWEST)
    for name, each in SITUATIONS.items():
        for kill in each.kills:
            assert kill.step + limit(each, kill, slowest) < each.steps, name


def test_situations_are_of_many_kinds() -> None:
    assert len(SITUATIONS) >= 50
    assert {each.kind for each in SITUATIONS.values()} == set(KINDS)
    assert all(each.about.endswith(".") for each in SITUATIONS.values())


class _Plain(Chance):
    """Hands on what it gets; where it is random it gives nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0 if self.training else x


def _steps() -> Data:
    """Examples of which the first 4, 8, 100 of 400 are 1 in a column of their own, and all are 1 in the last."""
    x = torch.zeros(400, 4)
    for column, count in enumerate((4, 8, 100, 400)):
        x[:count, column] = 1.0
    return x, torch.zeros(400, dtype=torch.long)


def _looking() -> nn.Module:
    layers = nn.Sequential(nn.Linear(4, 4, bias=False), _Plain(), nn.Dropout(0.9))
    nn.init.eye_(layers[0].weight)
    return nn.Sequential(*layers, nn.Linear(4, 2))


def test_the_oracle_counts_examples_and_takes_no_chance() -> None:
    situation = Situation(build=_looking, data=_steps, places={"0": "2"})
    model = _looking()
    found = Oracle(situation, model).classes(model.state_dict())
    assert found == {"0": ["rare", "living", "living", "dead"]}


def test_the_oracle_uses_the_weights_that_it_is_given() -> None:
    situation = Situation(build=_looking, data=_steps, places={"0": "2"})
    model = _looking()
    oracle = Oracle(situation, model)
    Kill(layer="3", unit=0)(model)  # not what is looked at
    with torch.no_grad():
        model[0].weight[1] = 0.0
    assert oracle.classes(model.state_dict())["0"][1] == "dead"


def test_the_oracle_sees_that_nobody_was_asked() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    situation = Situation(build=Alone, data=_steps, places={"unused": "unused"})
    model = Alone()
    assert Oracle(situation, model).classes(model.state_dict())["unused"] == ["unasked"] * 3


def test_limits_are_those_of_the_definition() -> None:
    case = RECIPES[DEFAULT]
    situation = partial(Situation, build=_looking, data=_steps)
    kill, hidden = Kill(layer="0", unit=0), Kill(layer="0", unit=0, hidden=True)
    assert limit(situation(batch=32), kill, case) == 10
    assert limit(situation(batch=64), hidden, case) == 110
    assert limit(situation(batch=1), kill, case) == 301
    assert limit(situation(batch=8), kill, case) == 39
