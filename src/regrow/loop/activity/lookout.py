"""Which passes are read, who is left alone, and what is said of it: a recipe's eye on a model's activity.

Asked by `loop/stepper` in each step, of recipes whose criterion reads passes; `step_activity` beside it has what
passes showed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from regrow.compose import Recipe
from regrow.criteria import (
    CentringCriterion,
    KeepReason,
    LayerActivity,
    Signal,
    WatchingCriterion,
)
from regrow.decision import RecipeState, watching
from regrow.graph import Wiring
from regrow.history import Report
from regrow.loop.activity.step_activity import StepActivity
from regrow.loop.warner import Warner

_WHY_KEPT: Final = {
    KeepReason.STARVED: "silent filters are left alone, since what they hear is constant",
    KeepReason.BLOCKED: "silent filters are left alone, since a factor of 0 stands behind them",
    KeepReason.GIVEN_UP: "silent filters are left alone after three renewals without a sign of life",
}


@dataclass(eq=False)
class Lookout:
    """What a recipe wants to see of a training's passes, and what comes of it."""

    recipe: Recipe  # whose criterion asks
    activity: StepActivity  # reads the passes
    neighbours: Mapping[str, frozenset[str]]  # by layer, those that it hears and those that hear it
    warner: Warner  # tells the user
    due: Container[int]  # the steps at which a score is due

    def __post_init__(self) -> None:
        criterion = self.recipe.criterion
        self._watching = watching(criterion)
        centred = Signal.DEVIATIONS in criterion.needs
        self._centring = cast("CentringCriterion", criterion) if centred else None
        # A criterion that looks only when a score is due has no use for what passes show in between.
        self._due = None if criterion.every_step else self.due

    @property
    def decides(self) -> bool:
        """Whether what passes show may make a decision due."""
        return self._watching is not None

    def ask(
        self,
        state: RecipeState,
        *,
        step: int,
        over: bool,
        able: Callable[[], frozenset[str]],
    ) -> None:
        """Say which passes are to be read in a step."""
        activity, watching = self.activity, self._watching
        if watching is not None:
            look = watching.watches({}, step=step)
        else:
            look = activity.asks_all(step) if self._due is None else step in self._due
        if over or (watching is None and not look):
            activity.ask(frozenset())
            return
        wanted = frozenset(
            path
            for path, own in state.criteria.items()
            if look or (watching is not None and own and watching.watches(own, step=step))
        )
        activity.ask(wanted & able() if wanted else wanted)
        if self._centring is not None:
            own = {path: state.criteria[path] for path in activity.asked}
            activity.centre({path: self._centring.centre_of(each) for path, each in own.items()})

    def shown(self) -> dict[str, LayerActivity]:
        """What the passes of this step have shown."""
        if not self.activity.asked:
            return {}
        found = self.activity.take()
        if self.activity.missed():
            self.warner.unseen()
        return found

    def noted(
        self, state: RecipeState, shown: Mapping[str, LayerActivity], *, report: Report
    ) -> RecipeState:
        """Who is left alone, and who has come to life among their neighbours."""
        watching = self._watching
        if watching is None:
            return state
        criteria = dict(state.criteria)
        stirred: set[str] = set()
        for path, own in state.criteria.items():
            if own:
                criteria[path], lives = watching.stirred(own)
                if lives:
                    stirred.add(path)
        for path in stirred:
            for other in self.neighbours.get(path, ()):
                if other in criteria:
                    criteria[other] = watching.encouraged(criteria[other])
        after = replace(state, criteria=criteria)
        if shown or stirred:
            self._list_kept(watching, after, report, warn=True)
        return after

    def forget(self, state: RecipeState, zeros: Iterable[str], *, report: Report) -> None:
        """Another time's state was loaded: what was read so far belongs to none of its passes."""
        self.activity.forget()
        self.activity.started_at_zero = frozenset(zeros)
        if self._watching is not None:
            self._list_kept(self._watching, state, report, warn=False)

    def _list_kept(
        self, watching: WatchingCriterion, state: RecipeState, report: Report, *, warn: bool
    ) -> None:
        """Into the report, and once as a warning."""
        report.unjudged = self.activity.unjudged
        lists = {
            KeepReason.STARVED: report.starved,
            KeepReason.BLOCKED: report.blocked,
            KeepReason.GIVEN_UP: report.given_up,
        }
        for path, own in state.criteria.items():
            kept = watching.kept(own)
            for reason, listed in lists.items():
                filters = kept.get(reason, ())
                if listed.get(path, ()) == filters:
                    continue
                listed.pop(path, None)
                if filters:
                    listed[path] = filters
                    cause = self._cause(reason, path, filters)
                    if cause:
                        report.causes[path] = cause
                    if warn:
                        said = f" ({cause})" if cause else ""
                        count = f"{len(filters)} of {report.layers[path]} filters of '{path}'"
                        self.warner.kept(reason.name, f"{_WHY_KEPT[reason]}: {count}{said}")

    def _cause(self, reason: KeepReason, path: str, filters: tuple[int, ...]) -> str:
        if reason is KeepReason.GIVEN_UP:
            return ""
        if reason is KeepReason.STARVED:
            return f"it hears {self.activity.why_starved(path)}"
        return f"see {self.activity.why_blocked(path, filters)}"


def neighbours(wiring: Wiring) -> dict[str, frozenset[str]]:
    """By layer, those that hear it and those that it hears."""
    found: dict[str, set[str]] = {}
    for layer in wiring.layers:
        for reader in layer.readers:
            found.setdefault(layer.path, set()).add(reader.path)
            found.setdefault(reader.path, set()).add(layer.path)
    return {path: frozenset(others) for path, others in found.items()}
