"""KeepAlive: rescue where networks fail, and leave alone where they do not."""

from __future__ import annotations

from typing import Literal, final

from regrow._checks import check_choice, check_not_negative
from regrow.compose import EVERY_KIND, OptimizerState, Parts, Recipe, RecipeInfo
from regrow.recipes._registry import published
from regrow.schedule import AtSteps, Every

INFO = RecipeInfo(
    name="keepalive",
    title="KeepAlive: one recipe for units that die, steps that are too long and signals that fade",
    family="dead units",
    summary="Renews dead units, shortens steps that are too long, mends gains that are far off at the start.",
    differs=(
        "No paper: a composition of RandomOut's renewal (Cohen, Lo, Ding 2016) as this library confirms it, a limit of "
        "the step as in LARS (You, Gitman, Ginsburg 2017), and a check of gains in the manner of LSUV (Mishkin, Matas "
        "2016).",
        "RandomOut: fresh units are drawn from He's normal, not from the network's own initialiser, whose gain may be "
        "what is wrong; dense units too (hidden ones alone); 90 % of the training instead of 60 %, and all of it where "
        "its length is not known.",
        "LARS scales every step of every layer to one length; here a step is shortened only if it is too long.",
        "LSUV scales every layer to unit variance; here only layers whose gain is out by a factor of ten are touched, "
        "and none that a norm, a sum or a product follows.",
    ),
    made_of="settings",
)


@final
@published
class KeepAlive(Recipe):
    """Keep every unit of a network at work: one recipe with one set of defaults.

    Small and plain networks fail in three ways: filters are dead from the start or die in the first steps, one step
    that is too long blows the network up, or the signal fades on its way so that nothing moves for a long time. Each
    part does one job, and acts only where there is something to do:

        before the first step     W_l <- W_l / gain(l)      where gain(l) is outside [0.1, 10]
        after every step          U_l <- U_l * min(1, step_limit * length(l) / norm(U_l))
        a step with a gradient that Adam would not get over is not made
        renew unit u              if it is dead (`regrow.criteria.Liveness`) and step < active_fraction * total_steps:
                                  weights from He's normal, whatever the network was drawn from, and bias 0, or as
                                  `draw` says

    Args:
        step_limit: The largest share of its length by which a step may move a layer (`regrow.guard.StepLimit`); 0: no
            guard.
        check_gain: Scale layers that pass next to nothing on, or far too much, before the first step
            (`regrow.nn.check_gain_`).
        renew_dead: Renew units that are dead.
        active_fraction: Share of the training, from its start, in which units are renewed. Where ``attach`` is not told
            ``total_steps``, all of it.
        threshold: A gradient norm below this is the reason to look at a layer at once.
        look_every: Every layer is looked at in one window in each so many steps besides.
        draw: What a renewed unit is. ``he``: weights from He's normal and bias 0. ``centred``: the same weights, and a
            bias of minus the mean of its sums in the newest training pass (`regrow.renewal.draws.Centred`).
            ``initial``: what it was when the recipe was attached (`regrow.renewal.draws.FirstValues`).
        optimizer_state: Of renewed entries: ``exact``, ``zeroed`` or ``kept``; see `regrow.Recipe`.

    Raises:
        ConfigError: A setting outside its range.

    Source:
        Ours. See ``docs/recipes/keepalive.md`` for what was measured, and for what it does not rescue.

    Examples:
        >>> KeepAlive().guard
        StepLimit(fraction=0.1, by='layer', skip_poison=True)
        >>> KeepAlive(step_limit=0).guard is None
        True
    """

    info = INFO

    step_limit: float = 0.1
    check_gain: bool = True
    renew_dead: bool = True
    active_fraction: float = 0.9
    threshold: float = 1e-8
    look_every: int = 100
    draw: Literal["he", "centred", "initial"] = "he"
    optimizer_state: OptimizerState = "exact"

    init = "kaiming_normal"
    layers = EVERY_KIND
    hidden_alone = True

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria import GradientSize, Liveness, RandomScore
        from regrow.guard import StepLimit
        from regrow.nn.gain_check import GainCheck
        from regrow.renewal import Redraw
        from regrow.selection import Below

        check_not_negative(self.step_limit, name="step_limit", where="keepalive")
        check_choice(self.draw, ("he", "centred", "initial"), name="draw", where="keepalive")
        return Parts(
            criterion=Liveness(
                gradient=GradientSize(), threshold=self.threshold, look_every=self.look_every
            )
            if self.renew_dead
            else RandomScore(),
            select=Below(threshold=0.0, inclusive=True),
            renew=Redraw(draw=None if self.draw == "he" else self.draw),
            when=Every(active_fraction=self.active_fraction, needs_end=False)
            if self.renew_dead
            else AtSteps.of(()),
            guard=StepLimit(fraction=self.step_limit) if self.step_limit else None,
            gain_check=GainCheck() if self.check_gain else None,
        )
