"""Trials that are still one run, and the selection that notices when they are not.

Made by `lab/run.py`, one a run. The loop calls its selection like any other; who has left (`Crew.left`) becomes a run
of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast, final

import torch
from torch import Tensor

from regrow import recipes
from regrow._shapes import Mask, Scores
from regrow.compose import Recipe
from regrow.history import Report
from regrow.lab.sharing.families import PLAIN, place_of
from regrow.schedule import Clock, Every
from regrow.selection import Below, Selection
from regrow.study.trials import TrialSpec

_NEVER: Final = -1

_Masks: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kind:
    """Members that decide alike at every step: one selection, up to one step."""

    select: Selection | None  # the selection; None where nothing is ever selected
    choice: int  # its number: selections that are equal have the same
    last_step: int  # the last step at which they look
    specs: tuple[TrialSpec, ...]  # the members


@final
class Crew(Selection):
    """Trials of one family that have been the same run so far; the selection of its recipe, which asks all of them.

    As soon as two of them would renew different filters, those who differ from the first member leave; the run goes on
    as the first member's.
    """

    def __init__(self, specs: Sequence[TrialSpec], *, clock: Clock) -> None:
        # The parts that have left and were not fetched yet: each is one run again.
        self.left: list[tuple[TrialSpec, ...]] = []
        self._nonfinite = {spec.trial: 0 for spec in specs}
        self._report: Report | None = None
        self._counted = 0
        self._due: tuple[_Kind, ...] = ()
        self._asked = False
        built = {spec.trial: _recipe(spec) for spec in specs}
        self._place = {spec.trial: place for place, spec in enumerate(specs)}
        self._kinds = _kinds(specs, built, clock)
        active = [recipe for recipe in built.values() if recipe is not None]
        # What the run trains with; None while no member has a recipe.
        self.recipe: Recipe | None = None
        if active:
            # The run must look at each step at which any of them would; those who are done are left out by `last_step`.
            longest = max(active, key=lambda recipe: cast("Every", recipe.when).active_fraction)
            self._asked = len(self._kinds) > 1
            self.recipe = longest.with_parts(select=self) if self._asked else longest

    @property
    def members(self) -> tuple[TrialSpec, ...]:
        """Those that are still here, in the order in which they were given."""
        return self._in_order(self._kinds)

    def _in_order(self, kinds: Sequence[_Kind]) -> tuple[TrialSpec, ...]:
        several = (spec for kind in kinds for spec in kind.specs)
        return tuple(sorted(several, key=lambda spec: self._place[spec.trial]))

    @property
    def may_split(self) -> bool:
        """Whether two members may still come to differ."""
        return len(self._kinds) > 1

    @property
    def last_step(self) -> int:
        """The last step at which any member looks; -1 where none does."""
        return max(kind.last_step for kind in self._kinds)

    # ---- scores that are no numbers: each member counts those of the steps at which it looked

    def watch(self, report: Report) -> None:
        """Count from here on what the run's recipe reports."""
        self._report, self._counted = report, report.nonfinite

    def nonfinite(self) -> dict[str, int]:
        """How many scores of each member were no numbers."""
        self._settle()
        return {spec.trial: self._nonfinite[spec.trial] for spec in self.members}

    def remember(self, nonfinite: Mapping[str, int]) -> None:
        """Take counts over from a saved state."""
        self._nonfinite = {spec.trial: nonfinite[spec.trial] for spec in self.members}

    def _settle(self) -> None:
        """Since the last look, the report has counted the scores of that look."""
        if self._report is None or self._report.nonfinite == self._counted:
            return
        more, self._counted = self._report.nonfinite - self._counted, self._report.nonfinite
        for kind in self._due if self._asked else self._kinds:
            for spec in kind.specs:
                self._nonfinite[spec.trial] += more

    # ---- one step

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> _Masks:
        """Let every member select, and part with those who differ from the first."""
        # First of all: the scores that were no numbers since the last look belong to those who looked then.
        self._settle()
        self._due = tuple(kind for kind in self._kinds if step <= kind.last_step)
        selections = {kind.choice: kind.select for kind in self._due}
        nothing: _Masks = {layer: torch.zeros_like(each) for layer, each in eligible.items()}
        widest = _widest(list(selections.values()))
        # Where the widest selection marks nobody, none does: one question instead of one for each member, at nearly
        # every step.
        if widest is not None:
            marked = widest(scores, eligible=eligible, step=step)
            if not any(bool(mask.any()) for mask in marked.values()):
                return nothing
        found = {
            key: select(scores, eligible=eligible, step=step)
            for key, select in selections.items()
            if select is not None
        }
        parts: dict[bytes, list[_Kind]] = {}
        # All kinds, also those whose recipe has ended: they renew nobody from here on, and leave when the others first
        # do.
        masks: dict[bytes, _Masks] = {}
        for kind in self._kinds:
            mine = found[kind.choice] if kind in self._due else nothing
            text = _text(mine)
            parts.setdefault(text, []).append(kind)
            masks[text] = mine
        stays, *leave = parts
        self._kinds = tuple(parts[stays])
        # Who has left does not count the scores of this step: it trains this epoch again, and counts them then.
        self._due = tuple(kind for kind in self._due if kind in parts[stays])
        self.left += [self._in_order(parts[text]) for text in leave]
        return masks[stays]

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse what any member's selection refuses."""
        for kind in self._kinds:
            if kind.select is not None:
                kind.select.check(counts)


def _recipe(spec: TrialSpec) -> Recipe | None:
    """A member's own recipe."""
    if spec.recipe == PLAIN:
        return None
    recipe = recipes.build(spec.recipe, spec.settings, where=spec.trial)
    if not isinstance(recipe, Recipe) or not isinstance(recipe.when, Every):
        raise TypeError(f"{spec.trial}: recipe '{spec.recipe}' cannot be in a family")
    return recipe


def _kinds(
    specs: Sequence[TrialSpec], built: Mapping[str, Recipe | None], clock: Clock
) -> tuple[_Kind, ...]:
    """Members by what they decide, in the order of the first of each kind."""
    found: dict[tuple[int, int], list[TrialSpec]] = {}
    selections: list[Selection | None] = []
    for spec in specs:
        recipe = built[spec.trial]
        last, select = _NEVER, None
        if recipe is not None:
            bound = recipe.when.bind(clock, where=spec.trial)
            last, select = bound.last_step, recipe.select
        if last is None:
            raise TypeError(f"{spec.trial}: the length of the training must be known")
        found.setdefault((place_of(select, selections), last), []).append(spec)
    return tuple(
        _Kind(select=selections[choice], choice=choice, last_step=last, specs=tuple(members))
        for (choice, last), members in found.items()
    )


def _widest(selections: Sequence[Selection | None]) -> Selection | None:
    """A selection that marks whatever any of the others marks, where there is one: most steps need no other."""
    below = [each for each in selections if isinstance(each, Below)]
    # Thresholds alone can be put in an order. With different `keep_one` the larger threshold may spare a filter that
    # the smaller one takes.
    if len(below) < len(selections) or len({each.keep_one for each in below}) > 1:
        return None
    return max(below, key=lambda each: each.threshold, default=None)


def _text(masks: Mapping[str, Mask]) -> bytes:
    """The marks of all layers: equal where the masks are."""
    # Compared as one text: members by the hundred are put into groups with one look at each.
    return torch.cat([mask.flatten() for mask in masks.values()]).cpu().numpy().tobytes()
