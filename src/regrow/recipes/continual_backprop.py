"""Continual Backprop (Dohare et al. 2024): a steady trickle of fresh units in the place of the least useful."""

from __future__ import annotations

from typing import Literal, final

from regrow._checks import check_choice, check_flag, check_whole
from regrow.compose import OptimizerState, Parts, Recipe, RecipeInfo
from regrow.neutral import Neutral
from regrow.recipes._registry import published
from regrow.schedule import Every

INFO = RecipeInfo(
    name="continual-backprop",
    title="Loss of plasticity in deep continual learning",
    paper="Dohare, Hernandez-Garcia, Lan, Rahman, Mahmood, Sutton (Nature 632, 2024; arXiv 2306.13812v3)",
    year=2024,
    url="https://www.nature.com/articles/s41586-024-07711-7",
    family="plasticity",
    summary="Renews a small share of each layer's mature units all the time, those that their readers miss least.",
    differs=(
        "What a removed unit gave on the average goes into its readers' biases, so that the function does not jump: "
        "that is the paper's idea. The released code sets the mean to 0 before it is read, and adds exactly 0; its "
        "versions for convolutions have no transfer at all. as_published=True is that.",
        "Mean of what a unit gives: in the ResNet's code the sum grows by (1 - decay) |h| each step and never decays, "
        "and a renewed unit inherits its predecessor's. Here averages decay, and begin anew.",
        "Ranking: by the average corrected for the unit's own age. Ranked as it is, a unit that has just come of age "
        "reads 0.63 of its value (decay 0.99, maturity 100), and is taken again and again.",
        "How many: the paper accumulates rate times the number of eligible units; the released code's default draws at "
        "random whether one is renewed, and some of its versions accumulate over all units and during the first "
        "`maturity` steps, so that a whole layer is due when it comes of age. Here nothing is saved up while nobody is "
        "eligible, nothing is owed, and one unit of a layer always stays.",
        "Rate: the paper's experiments take 1e-6 to 1e-2, Kumar et al. find 1e-4 or 1e-3 best on five problems. "
        "Default 1e-4. Maturity: 100 in most experiments (1,000 on CIFAR-100, 10,000 with PPO). Default 100.",
        "Utility: 'contribution' is the Nature paper's Equation 1; earlier versions and the MNIST and regression "
        "experiments take 'adaptable_contribution', with the distance from the running mean, over the incoming "
        "weights. The paper sums over the outgoing weights, the code averages: the same order in a layer.",
        "A convolution before a dense layer: the code multiplies position by position. Here the mean of a channel over "
        "its positions is multiplied with the sum of its weights over them.",
        "When: the layer versions of the code act inside the backward pass, before the optimizer's step. Here units "
        "are scored by the step's own passes and weights, and renewed right after it.",
        "Passes: what units give is taken over 16 to 31 examples of larger batches, behind norm and pooling.",
        "Incoming weights: the code draws Kaiming's uniform in its dense versions, and within 1/sqrt(fan_in) in its "
        "convolutions. Default: the layer class's own initialiser, or what init and attach(init=...) say.",
        "Optimizer: the code's own Adam counts steps by element; with any other optimizer nothing is reset. Here "
        "renewed entries have the state of fresh ones under every optimizer that can be followed.",
    ),
    neutral=Neutral(
        decides="filters", settings={"utility": "random"}, choice=frozenset({"utility"})
    ),
)


@final
@published
class ContinualBackprop(Recipe):
    """Replace the least useful of the mature units, a few at a time, for as long as the training lasts.

    A network owes its first successes to its random initial weights, and uses them up: on a long sequence of tasks it
    learns each one worse than the one before. So a small share of the units is fresh at any time. They are taken where
    they are missed least, and have time to become useful before they are judged.

        u <- decay * u + (1 - decay) * utility of the step,    score = u / (1 - decay^age),    age since renewal
        utility = mean of |h_u| * sum of |weights that read u|
        every step, in each layer:  saved <- saved + rate * (units with age > maturity);  floor(saved) of them are
            renewed, the lowest scores first: weights from the initialiser, bias 0, the weights that read them 0
        bias of each reader <- bias + (weight that read u) * (mean of h_u)

    Args:
        rate: The paper's replacement rate: share of a layer's mature units that is renewed in a step. 0: nobody.
        maturity: Steps after a renewal, and after the start, in which a unit is not judged.
        decay: Of the averages, within [0, 1).
        utility: ``contribution``, or another of the released code's six, ``weight`` (the weights that read the unit
            alone), ``adaptation`` (1 / its own weights), ``zero_contribution``, ``adaptable_contribution`` and
            ``feature_by_input``; see `regrow.functional.unit_utility`. ``random``: the control for the choice.
        active_fraction: Share of the training, from its start, in which units are renewed. Below 1 it needs
            ``attach(total_steps=...)``.
        optimizer_state: Of renewed entries: ``exact``, ``zeroed`` or ``kept``; see `regrow.Recipe`.
        as_published: Move no means, as the released code does not.
        init: What fresh units are drawn from; None: as ``attach`` was told.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        Acts on convolutions and dense layers, of these on hidden units alone (no residual stream, no attention) unless
        ``attach(include=...)`` names them; never on layers that make the output. A reader without a bias of its own
        loses the mean, and the report's notes say so.

    Source:
        Dohare, Hernandez-Garcia, Lan, Rahman, Mahmood, Sutton, Nature 632, 2024, Methods. Differs: see ``regrow ls
        recipes`` or ``INFO.differs``.

    Examples:
        >>> ContinualBackprop(rate=1e-3).select
        RateOfLayer(rate=0.001)
    """

    info = INFO

    rate: float = 1e-4
    maturity: int = 100
    decay: float = 0.99
    utility: Literal[
        "contribution",
        "weight",
        "adaptation",
        "zero_contribution",
        "adaptable_contribution",
        "feature_by_input",
        "random",
    ] = "contribution"
    active_fraction: float = 1.0
    optimizer_state: OptimizerState = "exact"
    as_published: bool = False
    init: str | None = None

    layers = ("conv", "linear")
    hidden_alone = True

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria.utility import KINDS, Utility
        from regrow.renewal import Redraw
        from regrow.selection import RateOfLayer

        check_flag(self.as_published, name="as_published", where="continual-backprop")
        check_whole(self.maturity, name="maturity", where="continual-backprop")
        check_choice(self.utility, KINDS, name="utility", where="continual-backprop")
        moves = not self.as_published
        return Parts(
            criterion=Utility(kind=self.utility, decay=self.decay, means=moves),
            select=RateOfLayer(rate=self.rate),
            renew=Redraw(transfer=True) if moves else Redraw(readers="zero"),
            when=Every(active_fraction=self.active_fraction),
            grace_steps=self.maturity,
            newborn=True,
        )
