"""How the arms of one cell stand to each other: who is the control of whom, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regrow.report.cell_arms import arms_in
from regrow.report.choice import choice_controls, random_arms
from regrow.report.cost import Cost, costs, networks_of
from regrow.report.partner_controls import apart_controls, averaging_arms, averaging_controls
from regrow.report.results import Study


@dataclass(frozen=True, kw_only=True)
class Relations:
    """All of it, by label; an arm is absent where it has none.

    Args:
        replaying: Control to the arm that it replays.
        at_random: Arms that rank their filters at random.
        choices: Arm to the arm that is the same but for a ranking at random.
        networks: How many networks a trial trains.
        averages: Arms whose networks average half and half.
        averaging: Arm to the arm that is the same but averages so.
        apart: Arm to the arm that trains as many networks apart.
        costs: What a trial costs.
    """

    replaying: Mapping[str, str]
    at_random: tuple[str, ...]
    choices: Mapping[str, str]
    networks: Mapping[str, int]
    averages: tuple[str, ...]
    averaging: Mapping[str, str]
    apart: Mapping[str, str]
    costs: Mapping[str, Cost]


def relations(study: Study, cell: str) -> Relations:
    """Find how the arms stand to each other in one cell.

    Args:
        study: What was asked for.
        cell: The cell: a grid may make arms differ in one and not in another.

    Returns:
        The relations.
    """
    return Relations(
        replaying=study.controls,
        at_random=random_arms(study, cell),
        choices=choice_controls(study, cell),
        networks={label: networks_of(arm) for label, arm in arms_in(study, cell).items()},
        averages=averaging_arms(study, cell),
        averaging=averaging_controls(study, cell),
        apart=apart_controls(study, cell),
        costs=costs(study, cell),
    )
