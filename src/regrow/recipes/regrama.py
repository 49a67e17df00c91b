"""ReGraMa (Liu et al. 2025): renew the units that learn next to nothing beside the mean of their layer."""

from __future__ import annotations

from typing import Literal, final

from regrow._checks import check_flag
from regrow.compose import OptimizerState, Parts, Recipe, RecipeInfo
from regrow.errors import ConfigError
from regrow.recipes._registry import published
from regrow.schedule import Every

INFO = RecipeInfo(
    name="regrama",
    title="Measure gradients, not activations! Enhancing neuronal activity in deep reinforcement learning",
    paper="Liu, Wu, Obando-Ceron, Castro, Courville, Pan (NeurIPS 2025; arXiv 2505.24061)",
    year=2025,
    url="https://arxiv.org/abs/2505.24061",
    family="plasticity",
    summary="Renews units whose gradient is next to nothing beside the mean of their layer, at long intervals.",
    differs=(
        "Whose gradient: the paper's formula takes the derivative by what a unit gives, for each example. A dead ReLU "
        "has a healthy one: its readers ask for what it cannot give. The released code takes the gradient of its "
        "weights, which is 0 then; so does this recipe. A third version (AgileRL) takes the derivative in front of the "
        "non-linearity.",
        "Outgoing weights: 0 in the paper, untouched in the released code; AgileRL draws small ones, since zeros make "
        "the unit's own gradient 0. Default: zero, with a grace period of 100 steps, in which the readers' weights "
        "grow; as_published=True keeps them.",
        "Output layer: the released code renews its units too. Here never.",
        "Threshold: 0.01, as other implementations have it; the paper finds the same results from 0 to 0.1, and the "
        "released code's default is 0.",
        "Interval: 1,000 steps, as other implementations have it. The gradient is that of one step, as the optimizer "
        "gets it.",
        "A layer that no gradient reaches: the code adds 1e-9 to the mean, so that the whole layer scores 0 and goes. "
        "Here nobody is less than the rest; and one unit of a layer always stays.",
        "Incoming weights: the released code draws Kaiming's uniform 2.45 times as wide as the layer's own. "
        "Default: the layer class's own initialiser, or what init and attach(init=...) say.",
        "Norm entries: neither touches them. Default: a renewed unit's begin anew; as_published=True keeps them.",
        "Optimizer: the released code finds the parameters of a layer by their number in the first group (a norm or a "
        "missing bias shifts them), and sets the count of whole tensors to 0. Here renewed entries have the state of "
        "fresh ones, and their neighbours keep theirs.",
        "most_of_layer is the released code's hybrid mode (off by default, as there).",
    ),
)


@final
@published
class ReGraMa(Recipe):
    """Renew units that learn next to nothing beside the mean of their layer.

    In deep networks and behind GELU or tanh a unit can be active and still learn nothing. So units are judged by the
    gradient that reaches them instead of by what they give.

        score(u) = sum over its weights of |dL/dw|  /  mean of that over the units of the layer
        renew unit u    if  score(u) <= threshold,  every `every_steps` steps
        weights from the layer's initialiser, bias 0, the weights that read it 0

    Args:
        threshold: A share of the layer's mean. 0 renews units that no gradient reaches; a negative one nobody.
        every_steps: Look and renew every so many optimizer steps.
        active_fraction: Share of the training, from its start, in which units are renewed. Below 1 it needs
            ``attach(total_steps=...)``.
        most_of_layer: The largest share of a layer that is renewed at once; one unit always stays.
        readers: What the weights that read a renewed unit become: ``zero``, ``redraw`` or ``keep``.
        grace_steps: Steps after a renewal in which the unit is not renewed again: as long as its readers start at 0,
            next to no gradient comes back to it. None: 1 with ``readers='zero'``, else 0.
        optimizer_state: Of renewed entries: ``exact``, ``zeroed`` or ``kept``; see `regrow.Recipe`.
        as_published: Keep readers and norm entries, as the released code does.
        init: What fresh units are drawn from; None: as ``attach`` was told.

    Raises:
        ConfigError: A setting outside its range, or other `readers` with `as_published`.

    Edge cases:
        A small gradient is no proof of death: units behind a factor of exactly 0 have none, and are renewed. Where that
        must not be, take `regrow.RandomOut`, which looks at what units give before it acts. Acts on convolutions and
        dense layers, of these on hidden units alone, unless ``attach(include=...)`` names others; never on layers that
        make the output.

    Source:
        Liu et al., NeurIPS 2025. https://arxiv.org/abs/2505.24061. Differs: see ``regrow ls recipes`` or
        ``INFO.differs``.

    Examples:
        >>> ReGraMa(threshold=0.0).select
        UpTo(threshold=0.0, most_of_layer=1.0)
    """

    info = INFO

    threshold: float = 0.01
    every_steps: int = 1000
    active_fraction: float = 1.0
    most_of_layer: float = 1.0
    readers: Literal["keep", "zero", "redraw"] = "zero"
    grace_steps: int | None = 100
    optimizer_state: OptimizerState = "exact"
    as_published: bool = False
    init: str | None = None

    layers = ("conv", "linear")
    hidden_alone = True

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria import RelativeGradient
        from regrow.renewal import Redraw
        from regrow.selection import UpTo

        check_flag(self.as_published, name="as_published", where="regrama")
        if self.as_published and self.readers != "zero":
            raise ConfigError(
                f"as_published=True keeps the readers: leave readers as it is, got readers={self.readers!r} (regrama)"
            )
        return Parts(
            criterion=RelativeGradient(),
            select=UpTo(threshold=self.threshold, most_of_layer=self.most_of_layer),
            renew=Redraw(norm="keep", readers="keep")
            if self.as_published
            else Redraw(readers=self.readers),
            when=Every(
                steps=self.every_steps, active_fraction=self.active_fraction, prefix="every_"
            ),
        )
