"""Protection: what a recipe does to steps and to the start of a training, besides what it renews.

The stepper calls `before_` ahead of everything else in a step, and `after_` when young entries are corrected and
nothing is renewed yet: a guard looks at what the optimizer has really done, and fresh filters are nobody's long step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from regrow.activity import ActivityMeter
from regrow.compose import Recipe
from regrow.graph.frames import Arguments
from regrow.guard import Guarding
from regrow.history import Report
from regrow.loop.host import Host
from regrow.loop.optimizers import OptimizerWatch
from regrow.loop.warner import Warner
from regrow.nn.gain_check import Call, check_gain_

_MISSED: Final = (
    "gains were not checked: the model was not called as a whole in training mode before the first step; "
    "regrow.nn.check_gain_ checks them by hand"
)


class Protection:
    """A recipe's guard and its gain check in one training."""

    def __init__(
        self,
        recipe: Recipe,  # has at least one of the two
        host: Host,  # the model in its training. Copies of the model are scaled with it.
        *,
        watches: Sequence[OptimizerWatch],  # the optimizers
        exclude: Sequence[str],  # patterns of layers that are never scaled
        warner: Warner,  # tells the user
        # Told the layers that the gain check has scaled, and by what.
        scaled: Callable[[Mapping[str, float]], None],
    ) -> None:
        self._host, self._watches, self._exclude = host, tuple(watches), tuple(exclude)
        self._check, self._scaled, self._warner = recipe.gain_check, scaled, warner
        # One an optimizer: in a loop without hooks the steps of several lie between `before_` and `after_`.
        guard = recipe.guard
        self._guardings: dict[OptimizerWatch, Guarding] = {}
        if guard is not None:
            self._guardings = {each: Guarding(guard, host.model, host.wiring) for each in watches}
        self._refused: set[OptimizerWatch] = set()
        self._gains: dict[str, float] = {}
        self._news = self._missed = False
        self._waits = self._check is not None
        self._meter: ActivityMeter | None = None
        if self._waits:
            self._meter = ActivityMeter.of(host.model, host.wiring, called=host.called)
            self._meter.call_once(self._scale_)

    @property
    def guards(self) -> bool:
        """Whether it must be there before an optimizer's step."""
        return bool(self._guardings)

    def before_(self, watch: OptimizerWatch) -> bool:
        """Look at the gradients of a step; whether it is made."""
        if self._meter is not None:
            self.leave()
            if self._waits and not any(each.has_stepped for each in self._watches):
                self._missed = self._news = True
        guarding = self._guardings.get(watch)
        if guarding is None or guarding.before_step_(watch.optimizer):
            return True
        self._refused.add(watch)
        return False

    def about_to_pass_(self, given: Arguments) -> None:
        """What the meter would have found: the first training pass is about to be made, by no module."""
        if self._waits:
            self.leave()
            self._scale_(given)

    def refused_(self, watch: OptimizerWatch, report: Report) -> bool:
        """Whether an optimizer has just made no step, as it should: then its gradients are put back."""
        if watch not in self._refused:
            return False
        self._refused.remove(watch)
        self.after_(watch, report)
        return True

    def after_(self, watch: OptimizerWatch, report: Report) -> None:
        """Look at what a step has made of the parameters, and shorten it."""
        guarding = self._guardings.get(watch)
        if guarding is not None:
            guarding.after_step_(watch.optimizer)
            self._news |= guarding.news
            guarding.news = False
        if self._news:
            self._news = False
            self.note(report)

    def _scale_(self, given: Arguments) -> None:
        """The first training pass is about to be made: of a training that begins here, and was not resumed."""
        check, self._waits = self._check, False
        if check is None or any(watch.has_stepped for watch in self._watches):
            return
        host, ranks = self._host, self._host.ranks
        means = None if ranks.wrapper is None else partial(ranks.mean, why="a gain check")
        found = check_gain_(
            host.model,
            Call(args=given[0], named=given[1]),
            low=check.low,
            high=check.high,
            exclude=self._exclude,
            companions=[each.tensors() for each in host.companions],
            wiring=host.wiring,
            reduce=means,
        )
        self._gains = {layer.path: layer.factor for layer in found.scaled}
        self._scaled(self._gains)
        self._news = True

    def note(self, report: Report) -> None:
        """Write down what was done."""
        report.gains = self._gains
        if self._missed:
            self._missed = False
            report.notes = (*report.notes, _MISSED)
        if not self._guardings:
            return
        first = not report.guarded and not report.refused
        counts: Counter[str] = Counter()
        for each in self._guardings.values():
            counts.update(each.hits)
        report.guarded = dict(counts)
        report.refused = sum(each.refused for each in self._guardings.values())
        if first and (report.guarded or report.refused):
            self._warner.guarded(report)

    def leave(self) -> None:
        """Do nothing any more."""
        if self._meter is not None:
            self._meter.settle()
            self._meter = None

    def state_dict(self, report: Report) -> dict[str, Any]:
        """What was done; loadable with ``weights_only=True``."""
        self.note(report)
        return {
            "gains": dict(self._gains),
            "hits": dict(report.guarded),
            "refused": report.refused,
        }

    def load_state_dict(self, state: Mapping[str, Any], report: Report) -> None:
        """Resume: the gain check belongs to the beginning of a training, and that is over."""
        for guarding in list(self._guardings.values())[:1]:
            guarding.load_state_dict(state)
        report.guarded, report.refused = dict(state["hits"]), int(state["refused"])
        self._gains = {str(path): float(gain) for path, gain in state["gains"].items()}
        self._check, self._waits = None, False
        self.leave()
        self.note(report)
