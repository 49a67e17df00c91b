"""Which trials of a study begin as one run.

Called by `lab/queue.py`, for the queue of runs; a crew compares its members' selections by `place_of`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from pydantic import BaseModel

from regrow import recipes
from regrow.compose import Recipe
from regrow.lab.arm_recipes import OWN
from regrow.schedule import Every
from regrow.study.grouped import grouped
from regrow.study.trials import TrialSpec

PLAIN: Final = "none"
"""The arm in which nothing ever happens."""

_PLAIN: Final = -1
_ALONE: Final = -2

Part = TypeVar("Part")


def families(specs: Sequence[TrialSpec], keys: Keys | None = None) -> list[tuple[TrialSpec, ...]]:
    """Group trials that are the same run until a recipe first decides otherwise for one of them than for another.

    Such trials have the same seed, data, model and training, and recipes that differ at most in which filters are
    selected from the scores and in the share of the training that the recipe is active in (RandomOut's tau and P).
    Plain training belongs to all of them: it is the run in which nothing is ever selected. Who cannot share is a group
    of one: several networks, teachers, controls, whole restarts, recipes that take filters out of the network.
    """
    groups = grouped(specs, (keys or Keys()).of)
    plain = {ground: members for (ground, kind), members in groups.items() if kind == _PLAIN}
    found = [
        # The first kind of recipe on the same ground takes the plain trials along.
        # Taken out with `pop`: the plain trial is one run, and can go along with one kind of recipe only.
        (*plain.pop(ground, ()), *members)
        for (ground, kind), members in groups.items()
        if kind != _PLAIN
    ]
    return by_first([*found, *map(tuple, plain.values())], specs)


def by_first(
    groups: Iterable[tuple[TrialSpec, ...]], specs: Sequence[TrialSpec]
) -> list[tuple[TrialSpec, ...]]:
    """Groups in the order of their first trials."""
    place = {spec.trial: number for number, spec in enumerate(specs)}
    return sorted(groups, key=lambda members: min(place[spec.trial] for spec in members))


class Keys:
    """What is equal where runs are: a text for the ground, a number for the kind of recipe; recipes are built once."""

    def __init__(self) -> None:
        self._kinds: dict[str, int] = {}
        self._parts: list[tuple[object, ...]] = []
        self._texts = Texts()

    def of(self, spec: TrialSpec) -> tuple[str, int]:
        """What the trial trains on and with, without its recipe; and the recipe as far as it must agree."""
        alone = spec.partners > 1 or spec.teachers or spec.keeps_weights or spec.like is not None
        if alone or (spec.recipe in OWN and spec.recipe != PLAIN):
            return spec.trial, _ALONE
        kind = _PLAIN if spec.recipe == PLAIN else self._kind(spec)
        return (spec.trial, kind) if kind == _ALONE else (self._ground(spec), kind)

    def _ground(self, spec: TrialSpec) -> str:
        alike = self._texts.of(spec.data, spec.model, spec.train, spec.diagnostics, spec.stream)
        return f"{spec.seed} {alike}"

    def _kind(self, spec: TrialSpec) -> int:
        key = json.dumps([spec.recipe, dict(spec.settings)], sort_keys=True)
        # A recipe is built once for each choice of settings, and not once for each of its hundred seeds.
        if key not in self._kinds:
            recipe = recipes.build(spec.recipe, spec.settings, where=spec.trial)
            part = common_part(recipe) if isinstance(recipe, Recipe) else None
            self._kinds[key] = _ALONE if part is None else place_of(part, self._parts)
        return self._kinds[key]


def common_part(recipe: Recipe) -> tuple[object, ...] | None:
    """What recipes must have in common so that their trials can be one run, to be compared; None: it cannot share.

    It takes filters out of the network, or looks at other times than at regular intervals, or acts on steps that renew
    nothing, or its selection remembers or is graded.
    """
    select = recipe.select
    if recipe.drop or not isinstance(recipe.when, Every) or select.remembers or select.graded:
        return None
    if not all(each is None for each in (recipe.guard, recipe.gain_check, recipe.network)):
        return None  # they act before anything is renewed: plain training is another run from the first step on
    # How long it looks may differ: up to where the first one stops they are the same run.
    same = replace(recipe.when, active_fraction=1.0)
    told = {"select", "when", "grace_steps"}
    others = (getattr(recipe, name) for name in recipe.part_names if name not in told)
    return recipe.info.name, same, recipe.grace, *others


def place_of(part: Part, among: list[Part]) -> int:
    """The place of the first equal part, which is added where there is none.

    By ``==``, as a user's own parts are compared: what they print may leave out what tells them apart. Where that is no
    answer (tensors give many), they are not equal, and each is trained by itself.
    """
    for place, other in enumerate(among):
        if _equal(part, other):
            return place
    among.append(part)
    return len(among) - 1


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except (RuntimeError, TypeError, ValueError):
        return False


class Texts:
    """Parts of a study as texts that are equal where the parts are; each is written out once, however many have it."""

    def __init__(self, *, without: Collection[str] = ()) -> None:
        self._without = set(without)  # names of settings that may differ
        self._found: dict[tuple[int, ...], str] = {}
        self._held: list[object] = []

    def of(self, *parts: BaseModel | None) -> str:
        """Write parts out, those that are there."""
        key = tuple(map(id, parts))
        if key not in self._found:
            self._held.append(parts)  # so that no other object takes an id over
            there = [part for part in parts if part is not None]
            told = [part.model_dump(mode="json", exclude=self._without) for part in there]
            self._found[key] = json.dumps(told, sort_keys=True)
        return self._found[key]
