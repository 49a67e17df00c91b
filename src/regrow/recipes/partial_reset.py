"""Partial resets (CPR 2026): every unit is moved towards a fresh one, by as much as it fails to learn."""

from __future__ import annotations

from typing import Literal, final

from regrow._checks import check_flag
from regrow.compose import Parts, Recipe, RecipeInfo
from regrow.recipes._registry import published
from regrow.schedule import Every

INFO = RecipeInfo(
    name="partial-reset",
    title="Calibrated partial resets",
    paper="CPR (2026; arXiv 2607.24996), before as CCBP (ICLR 2026)",
    year=2026,
    url="https://arxiv.org/abs/2607.24996",
    family="plasticity",
    summary="Moves every unit a little towards a fresh one, the further the less it learns beside its layer's mean.",
    differs=(
        "The source is the released code (LucMc/continual-learning, cpr.py, as of 20 May 2026); the paper's full text "
        "was not at hand.",
        "Rate, sharpness, threshold, decay, interval, transform: 0.015, 16, 1, 0.99, 1,000 and sigmoid, the code's "
        "defaults, and as far as they are in it those of the earlier paper's Table 3 (CCBP, as its PyTorch port "
        "quotes it). An earlier version of the code has 0.012, threshold 0.95 and exp.",
        "The average: the code begins each unit's at 1, the mean of its layer, and corrects nothing, so that a young "
        "unit counts as one at the threshold, whatever it learns. At an interval of 1,000 steps that is forgotten, at "
        "short ones it decides. Here averages are corrected by each unit's own age; as_published=True begins at 1.",
        "Both begin a unit's average anew when it has been moved, however little.",
        "A layer that no gradient reaches: the code adds 1e-8 to the mean, so that all of its units score 0 and the "
        "whole layer is moved by the full rate. Here such a step counts for nothing.",
        "Incoming weights: the code draws He's uniform, whatever the layer was initialised with. Default: the layer "
        "class's own initialiser, or what init and attach(init=...) say.",
        "Bias and norm entries: the code leaves them, so that a ReLU that its bias holds shut stays shut. Default: "
        "they go the same share of the way, to 0 and to what they were at the start; as_published=True keeps them. "
        "Running statistics follow the data by themselves.",
        "Optimizer: neither touches its state. Only an entry of which nothing is left (rate=1) begins anew here.",
        "Output layer: never, as in the code, which knows it by its name. The PyTorch port moves the class head of "
        "networks in which it is not told which layer that is; here it is traced.",
        "Readers: the code takes the layer that comes next by name, in the order of (height, width, channel) behind "
        "convolutions. Here they are traced.",
    ),
)


@final
@published
class PartialReset(Recipe):
    """Move every unit a share of the way towards a fresh one: the less it learns, the further.

    A whole renewal is a bet on one threshold, and a jump for the network. Here no unit is lost at once, none is kept
    for ever, and the network's output changes in proportion to the rate.

        u <- decay * u + (1 - decay) * |dL/dw of unit| / mean of that over its layer,    corrected by the unit's age
        every `every_steps` steps:
            r = rate * T(u),    T(u) = min(2 / (1 + exp(sharpness (u - threshold))), 1)    for ``sigmoid``
            weights          <- (1 - r) weights + r * a draw from the layer's initialiser
            bias             <- (1 - r) bias
            norm entries     <- (1 - r) entries + r * what they were at the start
            its readers      <- (1 - r) the weights that read it
            u                <- begins anew

    Args:
        rate: The largest share of the way, within [0, 1]. 0: nobody is moved, and training is plain.
        every_steps: Look and move every so many optimizer steps.
        transform: How the share falls with `u`: ``sigmoid``, ``exp``, ``softplus`` or ``linear``; see
            `regrow.functional.renewal_strength`.
        sharpness: How quickly it falls behind the threshold.
        threshold: Up to which `u` the full rate is due; the mean of a layer is 1.
        decay: Of the averages, within [0, 1).
        active_fraction: Share of the training, from its start, in which units are moved. Below 1 it needs
            ``attach(total_steps=...)``.
        as_published: Begin averages at 1, and keep biases and norm entries (see ``INFO.differs``).
        init: What fresh units are drawn from; None: as ``attach`` was told.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        What the optimizer remembers of a blended entry keeps its bits (`regrow.renewal.Blend` says why). The report
        counts every unit that was moved, however little. Acts on convolutions and dense layers, of these on hidden
        units alone, unless ``attach(include=...)`` names others; never on layers that make the output.

    Source:
        CPR, arXiv 2607.24996, as released. Differs: see ``regrow ls recipes`` or ``INFO.differs``.

    Examples:
        >>> PartialReset(rate=0.1).select
        Graded(rate=0.1, transform='sigmoid', sharpness=16.0, threshold=1.0)
    """

    info = INFO

    rate: float = 0.015
    every_steps: int = 1000
    transform: Literal["sigmoid", "exp", "softplus", "linear"] = "sigmoid"
    sharpness: float = 16.0
    threshold: float = 1.0
    decay: float = 0.99
    active_fraction: float = 1.0
    as_published: bool = False
    init: str | None = None

    layers = ("conv", "linear")
    hidden_alone = True

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria import GradientUtility
        from regrow.renewal import Blend, Redraw
        from regrow.selection import Graded

        check_flag(self.as_published, name="as_published", where="partial-reset")
        return Parts(
            criterion=GradientUtility(decay=self.decay, from_one=self.as_published),
            select=Graded(
                rate=self.rate,
                transform=self.transform,
                sharpness=self.sharpness,
                threshold=self.threshold,
            ),
            renew=Blend(towards=Redraw(bias="keep", norm="keep", readers="zero"))
            if self.as_published
            else Blend(),
            when=Every(
                steps=self.every_steps, active_fraction=self.active_fraction, prefix="every_"
            ),
        )
