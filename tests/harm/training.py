"""A situation trained with a recipe, with what the oracle needs to judge it afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import regrow
from harm.oracle import Oracle
from harm.parts import dice
from harm.recipes import Case
from harm.registry import Situation, Turn
from regrow.errors import RegrowWarning
from regrow.history import Renewed, Report

State = dict[str, Tensor]
CALIBRATION = 64
"""Examples on which a renewal that keeps the output measures."""


@dataclass(kw_only=True)
class Run:
    """What a training has left.

    Attributes:
        oracle: Of its situation.
        states: The model right before each optimizer step.
        events: All renewals.
        report: Of the recipe.
        said: regrow's warnings.
    """

    oracle: Oracle
    states: list[State]
    events: list[Renewed]
    report: Report
    said: list[str]


def batches(situation: Situation) -> Iterator[tuple[Tensor, Tensor]]:
    """The training set in a new order each epoch, without end; what is left of it at the end is left out."""
    x, y = situation.data()
    generator = dice(1)
    while True:
        for chosen in torch.randperm(len(x), generator=generator).split(situation.batch):
            if len(chosen) == situation.batch:
                yield x[chosen], y[chosen]


def train(situation: Situation, case: Case, replayed: Sequence[Renewed] = ()) -> Run:
    """Train it, and keep what the oracle needs.

    Args:
        situation: What happens.
        case: The recipe.
        replayed: For the random control.
    """
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        torch.manual_seed(0)
        model = situation.build().train()
        oracle = Oracle(situation, model)
        optimizer = situation.optimizer(situation.trained(model))
        x = situation.data()[0]
        regrower = regrow.attach(
            case.make(replayed),
            model,
            optimizer,
            example_inputs=x[:4],
            calibration_inputs=x[:CALIBRATION],
            total_steps=situation.steps,
            steps_per_epoch=len(x) // situation.batch,
            layers=("conv", "linear"),
        )
        events: list[Renewed] = []
        regrower.on_renewal(events.append)
        states: list[State] = []
        memory: dict[str, Any] = {}
        torch.manual_seed(1)
        for step, (images, targets) in zip(
            range(situation.steps), batches(situation), strict=False
        ):
            for kill in situation.kills:
                if kill.step == step:
                    kill(model)
            turn = Turn(
                model=model, optimizer=optimizer, x=images, y=targets, step=step, memory=memory
            )
            situation.turn(turn)
            states.append({name: each.clone() for name, each in model.state_dict().items()})
            optimizer.step()
        regrower.detach()
    said = [str(each.message) for each in caught if issubclass(each.category, RegrowWarning)]
    return Run(oracle=oracle, states=states, events=events, report=regrower.report, said=said)
