"""The drop phase of a recipe: selected filters leave the network, and are renewed when the schedule ends the phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from regrow.decision import Decision
from regrow.history import Renewed, Report
from regrow.loop.drop.absent import AbsentFilters
from regrow.loop.renewer import Renewer, of_layers
from regrow.loop.warner import Warner
from regrow.renewal import Absence, Edit
from regrow.surgery import apply_edits_, copy_over_


@dataclass(eq=False)
class DropPhase:
    """Takes filters out of the network, keeps them out step by step, and brings them back."""

    renewer: Renewer  # renews what comes back; holds the tensors and optimizers
    # What is silent with filters that are out; None where nothing is dropped.
    absence: Absence | None
    # Give what comes back the optimizer state of fresh entries. False: what it was.
    reset_state: bool
    warner: Warner  # tells the user

    def __post_init__(self) -> None:
        # The filters that are out.
        self.absent = AbsentFilters(self.renewer.host.model, self.absence)

    # ---- at each step in which filters are out

    def before_step(self, step: int, *, look: bool) -> None:
        """Take the gradients of what is out away; `look`: and see first whether somebody has written into it."""
        tensors = self.renewer.tensors
        if look:
            self.warner.disturbed(self.absent.zeros.disturbed(tensors), step=step)
        self.absent.zeros.freeze(tensors)

    def after_step(self) -> None:
        """What is out is 0, whatever the loop and the optimizer have done."""
        self.absent.zeros.settle(self.renewer.tensors)

    # ---- the two ends of the phase

    def drop(self, decision: Decision, *, step: int) -> None:
        """Take what was decided out of the network."""
        renewer = self.renewer
        trained = renewer.host.working.trained.now()
        decision = of_layers(renewer.host.working.now(trained), decision)
        if self.absence is None or not decision.masks:
            return
        self.absent.begin(decision, step=step)
        if renewer.host.dry_run:
            return
        tensors = renewer.refreshed()
        edits = self.absence.edits(decision.masks, params=tensors)
        edits = renewer.host.working.trained.permitted(edits, trained)
        for surgeon in renewer.surgeons:
            surgeon.check(edits)
        renewer.counted.after_step()
        self.absent.take_out_(edits, tensors)
        renewer.counted.leave(edits)
        for companion in renewer.host.companions:
            copy_over_(companion.tensors(), tensors, edits)
        for surgeon in renewer.surgeons:
            if not self.reset_state:
                for name in dict.fromkeys(edit.name for edit in edits):
                    self.absent.keep_state(name, surgeon.state_of(name))
            surgeon.clear(edits)

    def bring_back(self, *, seed: int, step: int) -> list[Renewed]:
        """Renew the filters that are out, one event a layer; those of layers that are frozen by now come back as is."""
        absent, renewer = self.absent, self.renewer
        decision, since = Decision(masks=absent.masks, scores=absent.scores), absent.since
        tensors, calibration = renewer.refreshed(), renewer.calibration
        before: list[Tensor] = []
        if calibration is not None:
            calibration.data.ask(step)
            before = calibration.outputs()  # of the network without them
        renewer.counted.after_step()
        absent.put_back_(tensors)
        if calibration is not None:
            self._cut_(tensors)
        restored = absent.edits(tensors)
        for companion in renewer.host.companions:
            copy_over_(companion.tensors(), tensors, restored)
        held = [edit for edit in restored if renewer.host.working.trained.held(edit.name)]
        for surgeon in renewer.surgeons:
            if self.reset_state:
                surgeon.reset(held)
            else:
                for edit in restored:
                    absent.put_state_back_(edit.name, surgeon.state_of(edit.name))
        absent.adopted_by_others_(restored, tensors)
        absent.end()
        decision = of_layers(renewer.host.working.returning(), decision)
        events = renewer.carry_out(decision, {}, seed=seed, step=step)
        change = None if calibration is None else calibration.change_since(before)
        return [replace(event, dropped=since, change=change) for event in events]

    def _cut_(self, tensors: Mapping[str, Tensor]) -> None:
        """What reads the filters that come back, and is trained, stays 0 and learns: the output does not jump."""
        if self.absence is not None:
            unheard = self.absence.unheard(self.absent.masks, params=tensors)
            edits = [Edit(name=name, mask=mask, value=0.0) for name, mask in unheard.items()]
            apply_edits_(tensors, self.renewer.host.working.trained.permitted(edits))

    def note(self, report: Report) -> None:
        """Say in a report what is out."""
        absent = self.absent
        report.resting, report.bound = absent.filters, dict(absent.bound)
        report.resting_since = absent.since if absent.masks else None

    def leave(self) -> bool:
        """Hold nothing at zero any more; whether filters were out, and now stay as they are."""
        self.absent.zeros.end()
        self.absent.leave()
        return bool(self.absent.masks) and not self.renewer.host.dry_run

    # ---- saved states

    def state_dict(self) -> dict[str, Any]:
        """What is out, and what it was."""
        return self.absent.state_dict(self.renewer.tensors)

    def check_state(self, state: object, counts: Mapping[str, int]) -> None:
        """Refuse what `load_state_dict` cannot work with; `counts`: number of filters by layer."""
        self.absent.check_state(state, self.renewer.refreshed(), counts)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume with the filters that are out in a saved state."""
        self.absent.load_state_dict(state, self.renewer.refreshed())
