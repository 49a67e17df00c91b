"""Protection: what a recipe does to steps and to the start of a training, besides what it renews.

The stepper calls `before_` ahead of everything else in a step, and `after_` when young entries are corrected and nothing
is renewed yet: so a guard looks at what the optimizer has really done, and fresh filters are nobody's long step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from regrow.activity import ActivityMeter
from regrow.compose import Recipe
from regrow.errors import StateError
from regrow.graph import Wiring
from regrow.graph.frames import Arguments
from regrow.guard import Guarding
from regrow.history import Report
from regrow.loop.ranks import Ranks
from regrow.loop.warner import Warner
from regrow.loop.watch import OptimizerWatch
from regrow.nn.gain_check import Call, check_gain_
from regrow.surgery import Companion


class Protection:
    """A recipe's guard and its gain check in one training.

    Args:
        recipe: Has at least one of the two.
        model: The bare model.
        called: The model as it is called, in its wrappers.
        wiring: What was traced of it.
        watches: The optimizers.
        companions: Copies of the model that are scaled with it.
        exclude: Patterns of layers that are never scaled.
        ranks: The processes that train the model together.
        warner: Tells the user.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        model: nn.Module,
        called: nn.Module,
        wiring: Wiring,
        watches: Sequence[OptimizerWatch],
        companions: Sequence[Companion],
        exclude: Sequence[str],
        ranks: Ranks,
        warner: Warner,
    ) -> None:
        self._check = recipe.gain_check
        self._model, self._wiring = model, wiring
        self._watches, self._companions = tuple(watches), tuple(companions)
        self._exclude, self._ranks, self._warner = tuple(exclude), ranks, warner
        # Without DistributedDataParallel's averages a rank may find what another does not.
        guard = recipe.guard
        self._guarding = None if guard is None else Guarding(guard, model, wiring)
        self._refused = False
        self._meter: ActivityMeter | None = None
        self._gains: dict[str, float] = {}
        if self._check is not None:
            self._meter = ActivityMeter.of(model, wiring, called=called)
            self._meter.call_once(self._scale_)

    @property
    def guards(self) -> bool:
        """Whether it must be there before an optimizer's step."""
        return self._guarding is not None

    def before_(self, watch: OptimizerWatch) -> bool:
        """Look at the gradients of a step; whether it is made."""
        if self._meter is not None:
            self._meter.settle()
            self._meter = None
        if self._guarding is None:
            return True
        self._refused = not self._guarding.before_step_(watch.optimizer)
        return not self._refused

    def after_(self, watch: OptimizerWatch, report: Report) -> bool:
        """Look at what a step has made of the parameters; whether there was one."""
        if self._guarding is None:
            return True
        self._guarding.after_step_(watch.optimizer)
        refused, self._refused = self._refused, False
        self.note(report)
        return not refused

    def _scale_(self, given: Arguments) -> None:
        """The first training pass is about to be made: of a training that begins here, and was not resumed."""
        check = self._check
        if check is None or any(watch.has_stepped for watch in self._watches):
            return
        ranks = self._ranks
        found = check_gain_(
            self._model,
            Call(args=given[0], named=given[1]),
            low=check.low,
            high=check.high,
            exclude=self._exclude,
            companions=[each.tensors() for each in self._companions],
            wiring=self._wiring,
            reduce=None
            if ranks.wrapper is None
            else lambda told: ranks.mean(told, why="a gain check"),
        )
        self._gains = {layer.path: layer.factor for layer in found.scaled}

    def note(self, report: Report) -> None:
        """Write down what was done."""
        report.gains = self._gains
        if self._guarding is not None:
            first = not report.guarded and not report.refused
            report.guarded, report.refused = self._guarding.hits, self._guarding.refused
            if first and (report.guarded or report.refused):
                self._warner.guarded(report)

    def leave(self) -> None:
        """Do nothing any more."""
        if self._meter is not None:
            self._meter.settle()
            self._meter = None

    def state_dict(self) -> dict[str, Any]:
        """What was done; loadable with ``weights_only=True``."""
        guarding = self._guarding
        return {"gains": dict(self._gains), "guard": guarding and guarding.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume: the gain check belongs to the beginning of a training, and that is over."""
        if (state["guard"] is None) != (self._guarding is None):
            raise StateError("the saved regrower and this one differ in their guard")
        if self._guarding is not None:
            self._guarding.load_state_dict(state["guard"])
        self._gains = {str(path): float(gain) for path, gain in state["gains"].items()}
        self._check = None
        self.leave()
