"""ReDo (Sokar et al. 2023): recycle dormant neurons."""

from __future__ import annotations

from typing import Literal, final

from regrow._checks import check_flag
from regrow.compose import OptimizerState, Parts, Recipe, RecipeInfo
from regrow.recipes._registry import published
from regrow.schedule import Every

INFO = RecipeInfo(
    name="redo",
    title="The Dormant Neuron Phenomenon in Deep Reinforcement Learning",
    paper="Sokar, Agarwal, Castro, Evci (ICML 2023; arXiv 2302.12902v2)",
    year=2023,
    url="https://arxiv.org/abs/2302.12902",
    family="plasticity",
    summary="Renews units that give next to nothing beside the mean of their layer, at long intervals.",
    differs=(
        "Threshold: the paper's text takes 0.1 for its runs (better than 0 and 0.025, which is what it counts dormant "
        "units by); the released code's default is 0, and popular ports take the 0.025. Default 0.1.",
        "Interval: the paper tries 1,000, 10,000 and 100,000 steps, the released code's default is 200,000. Default "
        "1,000.",
        "What is scored: paper and code run one more pass on a batch of its own, after the optimizer's step. Here it "
        "is the step's own training pass, read where the unit leaves for its readers (behind norm and pooling) and "
        "before any dropout, over 16 to 31 examples of larger batches.",
        "Who is dormant besides: a unit that gives one value throughout the step counts as 0, since behind a norm the "
        "silence of a dead ReLU is a constant of any size. Units that hear nothing but constants, or stand before a "
        "factor of exactly 0, are left alone. as_published=True judges by the size alone.",
        "A layer whose mean is 0: the code adds 1e-9 to the mean, so that all of its units score 0 and the whole layer "
        "is drawn anew. Here nobody is less than the rest, and nobody is renewed; one unit of a layer always stays.",
        "Incoming weights: the paper says the original distribution, the released code takes Xavier's uniform, the "
        "popular port Kaiming's uniform with the gain of ReLU, which is 2.45 times as wide as the layer's own. "
        "Default: the layer class's own initialiser, or what init and attach(init=...) say.",
        "Outgoing weights: 0 (the paper's Figure 22: random ones are worse). In the released code the columns of the "
        "first dense layer behind convolutions are those of other units (its masks repeat where they must tile); here "
        "they are traced.",
        "Bias: 0 as in the released code; ports draw it. The next layer's bias is not touched.",
        "Norm entries: neither touches them. Default: a renewed unit's begin anew; as_published=True keeps them.",
        "Optimizer: the released code sets the moments of weights to 0 and leaves their count and the biases' moments, "
        "so that fresh weights make steps up to five times too long; ports set the count of whole tensors to 0, which "
        "makes their neighbours' too long. Here renewed entries have the state of fresh ones, and their neighbours "
        "keep theirs; optimizer_state='kept' leaves all of it.",
        "most_of_layer, a cap on the share of a layer that is renewed at once, is ours (off by default).",
        "Scheduled variant: the released code can take the lowest share of each layer, which falls along a cosine, in "
        "the place of the threshold. That is with_parts(select=selection.FractionOfLayer(...)).",
    ),
)


@final
@published
class ReDo(Recipe):
    """Recycle dormant neurons: renew units that give next to nothing beside the mean of their layer.

    In reinforcement learning targets move, and more and more units of a network fall silent while it trains. A dormant
    unit is drawn anew; its readers do not hear it at first, so that the network's output stays what it was but for
    what the dormant unit gave.

        score(u) = mean over examples and positions of |h_u|  /  mean of that over the units of the layer
        renew unit u    if  score(u) <= threshold,  every `every_steps` steps
        weights from the layer's initialiser, bias 0, the weights that read it 0

    Args:
        threshold: The paper's tau, a share of the layer's mean. 0 renews units that give exactly nothing; a negative
            one nobody.
        every_steps: Look and renew every so many optimizer steps.
        active_fraction: Share of the training, from its start, in which units are renewed. Below 1 it needs
            ``attach(total_steps=...)``.
        most_of_layer: The largest share of a layer that is renewed at once; one unit always stays.
        readers: What the weights that read a renewed unit become: ``zero``, ``redraw`` or ``keep``.
        grace_steps: Steps after a renewal in which the unit is not renewed again. None: 1 with ``readers='zero'``,
            where its own gradient is exactly 0 until its readers have moved; else 0.
        optimizer_state: Of renewed entries: ``exact``, ``zeroed`` or ``kept``; see `regrow.Recipe`.
        as_published: Judge by the size of what units give alone, and keep norm entries (see ``INFO.differs``).
        init: What fresh units are drawn from; None: as ``attach`` was told.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        Acts on convolutions and dense layers, of these on hidden units alone (no residual stream, no attention) unless
        ``attach(include=...)`` names them; never on layers that make the output.

    Source:
        Sokar, Agarwal, Castro, Evci, ICML 2023, Sections 3 and 4. https://arxiv.org/abs/2302.12902 (v2). Differs: see
        ``regrow ls recipes`` or ``INFO.differs``.

    Examples:
        >>> ReDo(every_steps=500).when
        Every(steps=500, epochs=None, active_fraction=1.0, at_end=True)
    """

    info = INFO

    threshold: float = 0.1
    every_steps: int = 1000
    active_fraction: float = 1.0
    most_of_layer: float = 1.0
    readers: Literal["keep", "zero", "redraw"] = "zero"
    grace_steps: int | None = None
    optimizer_state: OptimizerState = "exact"
    as_published: bool = False
    init: str | None = None

    layers = ("conv", "linear")
    hidden_alone = True

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria import RelativeActivity
        from regrow.renewal import Redraw
        from regrow.selection import UpTo

        check_flag(self.as_published, name="as_published", where="redo")
        return Parts(
            criterion=RelativeActivity(as_published=self.as_published),
            select=UpTo(threshold=self.threshold, most_of_layer=self.most_of_layer),
            renew=Redraw(norm="keep" if self.as_published else "reset", readers=self.readers),
            when=Every(
                steps=self.every_steps, active_fraction=self.active_fraction, prefix="every_"
            ),
        )
