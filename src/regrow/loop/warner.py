"""What a regrower warns of while it works: each text in one place, most of them given once.

Held by the stepper and its parts; the report tells the same at more length.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch

from regrow._plural import plural
from regrow.errors import (
    GuardWarning,
    LargeRenewalWarning,
    LeftAloneWarning,
    NoEffectWarning,
    NonFiniteWarning,
    RegrowWarning,
)
from regrow.history import Report

_INSIDE: Final = (
    f"{Path(__file__).parent.parent}{os.sep}",
    f"{Path(torch.__file__).parent}{os.sep}",
)


class Warner:
    """Warns at the user's line: the call of the optimizer's step, or of `detach`."""

    def __init__(self, recipe: str, *, reads_gradients: bool, hooked: bool) -> None:
        self._recipe = recipe  # name of the recipe
        self._reads_gradients = reads_gradients  # whether the recipe's criterion looks at gradients
        self._hooked = hooked  # whether the optimizer's hooks call the regrower, and not the user
        self._said: set[str] = set()

    def _warn(self, text: str, kind: type[Warning] = RegrowWarning, *, once: str = "") -> None:
        """`once`: what a text is about of which one is enough."""
        if once not in self._said:
            self._said |= {once} if once else set()
            warnings.warn(text, kind, stacklevel=_users_line())

    def _listed(self, text: str, kind: type[Warning], *, once: str = "", how: str = "once") -> None:
        """One of several, which are all in the report."""
        told = f"recipe '{self._recipe}'; warned {how}, the report has all of them"
        self._warn(f"{text} ({told})", kind, once=once)

    def guarded(self, report: Report) -> None:
        """The guard has acted for the first time."""
        what = (
            "a step was not made, since its gradients would have spoilt the optimizer state for ever"
            if report.refused
            else f"a step was too long in {', '.join(report.guarded)}, and was shortened"
        )
        self._warn(
            f"{what} (step {report.steps}; warned once, report.guarded and report.refused count on; recipe "
            f"'{self._recipe}')",
            GuardWarning,
        )

    def nonfinite(self, counts: Mapping[str, int], *, step: int) -> None:
        """Scores that are no numbers."""
        found = ", ".join(f"{count} in {layer}" for layer, count in counts.items())
        self._warn(
            f"scores that are not finite at step {step}: {found}; they select no filter "
            f"(warned once; report.nonfinite counts on)",
            NonFiniteWarning,
        )

    def disturbed(self, found: Sequence[str], *, step: int) -> None:
        """Filters that are out have been written into: by a checkpoint of another time, mostly."""
        if found:
            self._warn(
                f"filters that are out of the network were written into before step {step}, in {found[0]} and "
                f"{len(found) - 1} others, and are 0 again; they come back from what they were when they were dropped: "
                f"with a model, load the optimizer and the regrower of the same time too (recipe '{self._recipe}')"
            )

    def no_gradient(self, *, step: int) -> None:
        """No watched layer has a gradient."""
        early = (
            ""
            if self._hooked
            else ": call regrower.before_step() after backward(), or regrower.step() before zero_grad(); where a "
            "closure makes the gradients inside the step, attach with hooks=True"
        )
        if self._reads_gradients:
            self._warn(
                f"no watched layer has a gradient at step {step}, so that no filter is scored{early} (warned once)",
                NoEffectWarning,
                once="gradient",
            )

    def forgotten(self, optimizer: str) -> None:
        """The optimizer has stepped before, and no state was loaded: a resume that forgets the regrower."""
        self._warn(
            f"the {optimizer} has made steps before the first one that this regrower sees: a run that is resumed "
            "must load its state too, regrower.load_state_dict(...), or its schedule, its windows and the ages of "
            "renewed entries begin anew; one that attaches in the middle on purpose loses nothing "
            f"(recipe '{self._recipe}'; warned once)",
            once="forgotten",
        )

    def past_the_end(self, steps: int) -> None:
        """The training goes on behind the end that was announced."""
        self._warn(
            f"the training goes on after total_steps={steps}, by which the recipe has measured its schedule: give "
            "the whole number to attach; a run that is resumed attaches with that of the whole training and loads "
            f"the regrower's state, load_state_dict (recipe '{self._recipe}'; warned once)",
            once="end",
        )

    def order(self) -> None:
        """Not all have stepped at the end of the first step: the last in the list is not the last in the loop."""
        self._warn(
            "several optimizers must be listed in the order in which they step: the last one ends a step, and has "
            "stepped before the others, or not at all; renewed filters are moved by gradients of the old ones, or "
            "none is renewed (attach; warned once)",
            once="order",
        )

    def large(self, text: str) -> None:
        """One decision takes much of a layer or of the network."""
        self._listed(text, LargeRenewalWarning, once="large")

    def kept(self, reason: str, text: str) -> None:
        """Silent filters are left alone."""
        self._listed(text, LeftAloneWarning, once=f"kept: {reason}")

    def unseen(self) -> None:
        """Layers train, and no forward pass of theirs is seen."""
        self._warn(
            "watched layers have gradients and no forward pass of the model was seen, so that no filter is found "
            "dead: attach to what the loop calls, and call it and not its forward(), or set confirm='gradient' "
            f"(recipe '{self._recipe}'; warned once)",
            NoEffectWarning,
            once="unseen",
        )

    def deaf(self, note: str) -> None:
        """A layer is renewed by what it heard, and nothing was heard."""
        self._listed(note, NoEffectWarning, how="once a layer")

    def left_out(self, count: int) -> None:
        """Nobody brings back the filters that are out."""
        self._warn(
            f"{count} {plural(count, 'filter is', 'filters are')} out of the network, and the recipe does not bring "
            f"{plural(count, 'it', 'them')} back any more: call "
            f"regrower.bring_back() (recipe '{self._recipe}')"
        )


def _users_line() -> int:
    """The stack level, for the caller, of the innermost frame that is neither regrow's nor torch's."""
    level, frame = 0, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    return level
