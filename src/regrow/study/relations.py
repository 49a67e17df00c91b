"""How the arms of each cell stand to each other: who replays whom, who is whose control, what a trial costs.

Worked out when a study begins, and stored; `study/results` hands it to the report, which never guesses by names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regrow.study.cells import Cell, in_order
from regrow.study.document import Arm, Study
from regrow.study.fingerprint import fingerprint
from regrow.study.later import distinguishing
from regrow.study.records import ArmRecord

if TYPE_CHECKING:
    from regrow.compose import RecipeInfo


def arm_records(cells: Iterable[Cell], facts: Callable[[str], RecipeInfo]) -> tuple[ArmRecord, ...]:
    """Resolve every arm in every cell, in their order: a grid may make arms differ in one and not in another.

    Several controls that are alike: the first. An arm that is neutral itself has no neutral control. Another training
    (its learning rates, its length), another model, another scale or other teachers: no control. A teacher that is
    there by two ways is paid for once.
    """
    return tuple(record for cell in cells for record in _of_cell(cell, facts))


@dataclass(frozen=True)
class _Asked:
    """One arm in one cell, its training written out."""

    arm: Arm
    facts: RecipeInfo
    train: Mapping[str, Any]

    @property
    def networks(self) -> int:
        found = self.arm.settings.get("partners", 1)
        return found if isinstance(found, int) else 1

    @property
    def epochs(self) -> int:
        """Of all its networks."""
        return self.networks * int(self.train["epochs"])

    @property
    def neutral(self) -> bool:
        return self.facts.neutral is not None and self.facts.neutral.holds(self.arm.settings)

    @property
    def setting(self) -> tuple[object, ...]:
        """How its networks are trained, whatever its recipe does to them."""
        return self.train, self.arm.model, self.arm.data, self.arm.teachers, self.arm.distillation

    @property
    def all_but_the_choice(self) -> tuple[object, ...]:
        choice = self.facts.neutral.choice if self.facts.neutral else frozenset[str]()
        kept = {key: value for key, value in self.arm.settings.items() if key not in choice}
        return self.arm.recipe, kept, self.setting

    def is_neutral_control_of(self, own: _Asked) -> bool:
        """Whether it is the same but for a decision that says nothing."""
        differ = self.neutral and own.facts.neutral is not None and not own.neutral
        return differ and self.all_but_the_choice == own.all_but_the_choice

    def is_apart_control_of(self, own: _Asked) -> bool:
        """Whether it trains as many networks apart, in the same way."""
        differ = self.facts.role == "apart" and own.facts.role != "apart" and own.networks > 1
        return differ and (self.networks, self.setting) == (own.networks, own.setting)


def _of_cell(cell: Cell, facts: Callable[[str], RecipeInfo]) -> list[ArmRecord]:
    study = cell.study
    base = study.train.model_dump(mode="json")
    asked = {
        label: _Asked(arm, facts(arm.recipe), {**base, **arm.train})
        for label, arm in study.arms.items()
    }
    baseline = baseline_of([(label, each.facts.role) for label, each in asked.items()])
    teachers = {label: _teachers(asked, label) for label in asked}
    prices = {
        label: each.epochs + sum(asked[one].epochs for one in teachers[label] if one in asked)
        for label, each in asked.items()
    }
    identities = _identities(study, asked, where=cell.name)
    found: list[ArmRecord] = []
    for label, each in asked.items():
        neutral = each.facts.neutral
        same = (one for one, other in asked.items() if other.is_neutral_control_of(each))
        apart = (one for one, other in asked.items() if other.is_apart_control_of(each))
        found.append(
            ArmRecord(
                cell=cell.name,
                label=label,
                recipe=each.arm.recipe,
                role=each.facts.role,
                identity=identities[label],
                networks=each.networks,
                epochs=int(each.train["epochs"]),
                held_out=int(each.train["held_out"]),
                replays=each.arm.like,
                decides=None if neutral is None else neutral.decides,
                neutral=each.neutral,
                neutral_control=next(same, None),
                apart_control=next(apart, None),
                teachers=prices[label] - each.epochs,
                files=sum(one not in asked for one in teachers[label]),
                own_model=each.arm.model != asked[baseline].arm.model,
                relative=prices[label] / prices[baseline],
            )
        )
    return found


def baseline_of(arms: Sequence[tuple[str, str]]) -> str:
    """The arm that all others are compared with: "none", else the first without a recipe, else the first."""
    labels = [label for label, _ in arms]
    plain = [label for label, role in arms if role == "plain"]
    return "none" if "none" in labels else [*plain, *labels][0]


def _teachers(asked: Mapping[str, _Asked], label: str) -> set[str]:
    """All arms and files that an arm needs as teachers, its teachers' included."""
    found: set[str] = set()
    waiting = list(asked[label].arm.teachers)
    while waiting:
        teacher = waiting.pop()
        if teacher not in found:
            found.add(teacher)
            waiting += asked[teacher].arm.teachers if teacher in asked else []
    return found


def _identities(study: Study, asked: Mapping[str, _Asked], *, where: str) -> dict[str, str]:
    """A text for each arm that is the same in two cells where all that determines its trials is."""
    parts = {"data", "model"} if study.stream is None else {"data", "model", "stream"}
    base = study.model_dump(mode="json", include=parts)
    found: dict[str, str] = {}
    for label in in_order(study.arms, where=where):
        arm = asked[label].arm
        told = [
            base,
            asked[label].train,
            arm.recipe,
            distinguishing(arm.recipe, arm.settings),
            arm.model,
            found.get(arm.like or "", arm.like),
            [found.get(one, arm.teacher_digests.get(one, one)) for one in arm.teachers],
            None if arm.distillation is None else arm.distillation.model_dump(mode="json"),
        ]
        told += [{"data": arm.data}] if arm.data else []
        found[label] = fingerprint(told)[:16]
    return found
