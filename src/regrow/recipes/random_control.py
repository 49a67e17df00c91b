"""The control: the same steps, layers and counts as another run, with the filters picked at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, final

from regrow.compose import EVERY_KIND, OptimizerState, Parts, Recipe, RecipeInfo
from regrow.history import Renewed
from regrow.recipes._registry import published
from regrow.schedule import AtSteps

INFO = RecipeInfo(
    name="random",
    title="Random control",
    paper="none: the control of the recipe under test",
    year=2026,
    url="",
    summary="Renews as many filters in the same layers at the same steps as the paired run, picked at random.",
    differs=(),
    role="control",
)


@final
@published
class RandomControl(Recipe):
    """Do what another run did, to filters picked at random.

    If a recipe that redraws filters at once beats this control, its choice of filters matters; if both do equally well,
    the disturbance alone did it. A recipe with a drop phase differs in more than the choice: this control redraws at
    once, and without the phase. For its choice, compare it with itself under ``rank_by="random"``.
    `regrow.recipes.at_random` makes a control of a recipe, with all of its parts; here they are said one by one.

    Args:
        like: The events of the run under test: its report's ``events``.
        reset_bias: As in the run under test.
        reset_norm: As in the run under test.
        optimizer_state: As in the run under test.
        readers: As in the run under test.
        preserve: As in the run under test.
        transfer: Move means into the readers of what is renewed (`ContinualBackprop`, unless as published).
        init: As in the run under test.
        step_limit: As in the run under test (`KeepAlive`); 0: no guard.
        check_gain: As in the run under test.
        dense: Whether the run under test renews dense units too.
        draw: As in the run under test; ``he`` there is None here, with the same `init`.

    Edge cases:
        No events: the control changes nothing and is the plain training, bit for bit.

    Examples:
        >>> events = [Renewed(step=4, layer="conv1", filters=(2,), scores=(0.0,))]
        >>> RandomControl(like=events).when.steps
        frozenset({4})
    """

    info = INFO

    like: Sequence[Renewed]
    reset_bias: bool = True
    reset_norm: bool = True
    optimizer_state: OptimizerState = "exact"
    readers: Literal["keep", "zero", "redraw"] = "keep"
    preserve: bool = False
    transfer: bool = False
    init: str | None = None
    step_limit: float = 0.0
    check_gain: bool = False
    dense: bool = False
    draw: Literal["centred", "initial"] | None = None

    def __post_init__(self) -> None:
        """Hold the events as they are now: the list may grow, and recipes that are equal have one hash."""
        self.__dict__["like"] = tuple(self.like)
        super().__post_init__()

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria import RandomScore, Utility
        from regrow.guard import StepLimit
        from regrow.nn.gain_check import GainCheck
        from regrow.renewal import Redraw
        from regrow.selection import CountsOf

        counts: Counter[tuple[int, str]] = Counter()
        for event in self.like:
            counts[event.step, event.layer] += len(event.filters)
        return Parts(
            criterion=Utility(kind="random", means=True) if self.transfer else RandomScore(),
            select=CountsOf(counts=dict(counts)),
            renew=Redraw(
                bias="zero" if self.reset_bias else "keep",
                norm="reset" if self.reset_norm else "keep",
                readers=self.readers,
                preserve=self.preserve,
                transfer=self.transfer,
                draw=self.draw,
            ),
            when=AtSteps.of(event.step for event in self.like),
            guard=StepLimit(fraction=self.step_limit) if self.step_limit else None,
            gain_check=GainCheck() if self.check_gain else None,
            layers=EVERY_KIND if self.dense else ("conv",),
        )
