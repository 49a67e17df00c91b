"""ShrinkPerturb (Ash, Adams 2020): a network is made smaller, and a little of a fresh one added, before new data."""

from __future__ import annotations

from typing import Literal, final

from regrow.compose import EVERY_KIND, OptimizerState, Parts, Recipe, RecipeInfo
from regrow.recipes._no_filters import at_boundaries, no_filters
from regrow.recipes._registry import published

INFO = RecipeInfo(
    name="shrink-perturb",
    title="On Warm-Starting Neural Network Training",
    paper="Ash, Adams (NeurIPS 2020; arXiv 1910.08475v3)",
    year=2020,
    url="https://arxiv.org/abs/1910.08475",
    family="network",
    summary="Makes all weights smaller where the task changes, and adds a little of a freshly drawn network.",
    differs=(
        "Numbers: the released code's command line has 0.4 and 0.1, the paper's figures a lambda of 0.6. Default 0.4 "
        "and 0.1.",
        "What is added: the paper says noise, its code a share of a network that is constructed anew, each tensor as "
        "its own module draws it; here too. Later benchmarks (Plasticine, FIRE) add a share of the first weights under "
        "the same name, with numbers that add up to 1: target='initial'.",
        "How a fresh network is known: the code calls the model's constructor. Here each layer's weight is drawn by "
        "its initialiser, the class's own or what init and attach(init=...) say; what began as one number throughout "
        "is that number; all else is what its module draws. What nobody knows is left alone, and the report names it.",
        "Norm entries: moved like all others, as in the code. Running statistics: in the code they are those of the "
        "fresh network; here they stay, and follow the data within some tens of passes.",
        "Optimizer: the code makes a new one. Default optimizer_state='exact', which is that, but for learning rates "
        "and schedules; 'kept' and 'zeroed' are ours.",
        "When: the paper acts when new data come, here at regrower.boundary(). Others act in every step, with numbers "
        "next to 1 and 0 (Kumar et al. 2023: 0.9999 and 0.01; Dohare et al. 2024: weight decay and noise): "
        "every_steps=1 with optimizer_state='kept', for otherwise the optimizer begins anew each time.",
        "Frozen parameters, and those that no optimizer holds, keep their bits; in the code all are mixed.",
    ),
)


@final
@published
class ShrinkPerturb(Recipe):
    """Make the whole network smaller where the task changes, and add a little of a fresh one.

    A network that goes on from old data meets new ones with gradients of very different sizes, and ends worse than a
    fresh one. Shrunk, it keeps what it has learnt as a direction, and learns new data as a fresh network does.

        w  <-  shrink * w + noise * w_fresh        at each `regrow.loop.Regrower.boundary`, or every `every_steps` steps

    Args:
        shrink: The paper's lambda, at least 0. 1: nothing is made smaller; 0 with ``noise=1``: a restart.
        noise: The paper's gamma, at least 0, for the size of the share that is added. 0: nothing is.
        target: What is added: ``fresh``, a network drawn anew each time; ``initial``, this one as it was attached,
            which other benchmarks call by the same name.
        every_steps: Act every so many optimizer steps instead of at boundaries.
        optimizer_state: What becomes of what the optimizer remembers: ``exact``, as in a new optimizer; ``zeroed`` or
            ``kept``; see `regrow.Recipe`. At short intervals take ``kept``.
        init: What fresh layers are drawn from; None: as ``attach`` was told.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        All parameters that are trained are changed, the output layer's and norm entries too; ``attach``'s include and
        exclude say which modules. Without a boundary nothing happens. Companions go the same way.

    Source:
        Ash, Adams, NeurIPS 2020, Section 4. https://arxiv.org/abs/1910.08475 (v3). Differs: see ``regrow ls recipes``
        or ``INFO.differs``.

    Examples:
        >>> ShrinkPerturb(shrink=0.6, noise=0.01).network
        ShrinkAndAdd(shrink=0.6, noise=0.01, target='fresh')
    """

    info = INFO

    shrink: float = 0.4
    noise: float = 0.1
    target: Literal["fresh", "initial"] = "fresh"
    every_steps: int | None = None
    optimizer_state: OptimizerState = "exact"
    init: str | None = None

    layers = EVERY_KIND

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.renewal.network import ShrinkAndAdd

        change = ShrinkAndAdd(shrink=self.shrink, noise=self.noise, target=self.target)
        when = at_boundaries(every_steps=self.every_steps)
        return {**no_filters(), "network": change, "network_when": when}
