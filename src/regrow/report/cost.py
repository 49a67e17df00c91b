"""What a trial of each arm costs: passes over the training images, of all its networks and of its teachers'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regrow.report.cell_arms import arms_in
from regrow.report.results import Study


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The price of one trial of an arm.

    Args:
        networks: Networks that it trains.
        epochs: Epochs of each.
        teachers: Epochs that the networks of its teachers were trained for, and those of their teachers, in all.
        files: Teachers that are files: what their training cost is not known.
        own_model: Whether its network is another one than the baseline's: an epoch of it is another price.
        relative: All its epochs over those of the baseline's trial.
    """

    networks: int
    epochs: int
    teachers: int
    files: int
    own_model: bool
    relative: float

    @property
    def total(self) -> int:
        """Epochs of all networks and teachers."""
        return self.networks * self.epochs + self.teachers


def costs(study: Study, cell: str) -> dict[str, Cost]:
    """Count what a trial of each arm costs in one cell.

        networks * epochs + sum over all teachers, and theirs, of networks * epochs

    Args:
        study: What was asked for.
        cell: The cell, for a grid over epochs or partners.

    Returns:
        By label; empty where the study does not say how many epochs it trains.

    Edge cases:
        A teacher that is there by two ways is trained once. What teachers compute for each batch of their pupils, and
        what a recipe computes, is not counted: see the wall time.
    """
    arms = arms_in(study, cell)
    if not all(isinstance(arm["train"].get("epochs"), int) for arm in arms.values()):
        return {}
    prices = {label: _own(arms[label]) + _taught(arms, label) for label in arms}
    return {
        label: Cost(
            networks=networks_of(arm),
            epochs=arm["train"]["epochs"],
            teachers=_taught(arms, label),
            files=len(_teachers(arms, label) - arms.keys()),
            own_model=arm["model"] != arms[study.baseline]["model"],
            relative=prices[label] / prices[study.baseline],
        )
        for label, arm in arms.items()
    }


def networks_of(arm: Mapping[str, Any]) -> int:
    """How many networks a trial of an arm trains.

    Args:
        arm: As `arms_in` gives it.

    Returns:
        At least 1.
    """
    found = arm["settings"].get("partners", 1)
    return found if isinstance(found, int) else 1


def _own(arm: Mapping[str, Any]) -> int:
    return networks_of(arm) * arm["train"]["epochs"]


def _taught(arms: Mapping[str, Mapping[str, Any]], label: str) -> int:
    return sum(_own(arms[teacher]) for teacher in _teachers(arms, label) & arms.keys())


def _teachers(arms: Mapping[str, Mapping[str, Any]], label: str) -> set[str]:
    """All arms and files that an arm needs as teachers, its teachers' included."""
    found: set[str] = set()
    waiting = list(arms[label]["teachers"])
    while waiting:
        teacher = waiting.pop()
        if teacher not in found:
            found.add(teacher)
            waiting += arms[teacher]["teachers"] if teacher in arms else []
    return found
