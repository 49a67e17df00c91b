"""RandomOut (Cohen, Lo, Ding 2016): redraw the filters that no gradient reaches.

Its parts are `criteria` (`Liveness`, `GradientSize`), `selection/below` and `renewal/redraw`.
"""

from __future__ import annotations

from typing import Final, Literal, final

from regrow._checks import check_choice
from regrow.compose import OptimizerState, Parts, Recipe, RecipeInfo
from regrow.errors import ConfigError
from regrow.recipes._registry import published
from regrow.schedule import Every

INFO = RecipeInfo(
    name="randomout",
    title="RandomOut: Using a convolutional gradient norm to win The Filter Lottery",
    paper="Cohen, Lo, Ding (ICLR 2016 workshop; arXiv 1602.05931v2)",
    year=2016,
    url="https://arxiv.org/abs/1602.05931",
    family="dead units",
    summary="Redraws dead filters, suspected by a small gradient norm, during the first part of the training.",
    differs=(
        "What is redrawn: paper and code redraw whatever has a small gradient in one step. Where a whole layer has "
        "none (a scale or head that starts at 0, a block left out, a loss that is satisfied) those are living filters. "
        "Default confirm='silence': a small gradient is the reason to look, and redrawn is what then gives its readers "
        "nothing but one value for 5 steps and 300 examples; every layer is looked at every 100 steps besides. "
        "confirm='gradient' is the method as published.",
        "Norm: the paper prints |sum of the gradient| over a filter, which can cancel for a living filter; "
        "the author's code takes the absolute values first. Default l1 (the code); norm='signed' is the "
        "printed formula.",
        "Interval: the paper says regular intervals, the code checks after every update. Default: every "
        "optimizer step.",
        "P: the paper tunes the share of epochs with the test active and gives 60 % for its best cell on "
        "East; the released code has no such limit. Default 0.6; active_fraction=1.0 is the code.",
        "Threshold: 1e-8 is the value that the paper calls good; the notebook's default is 1e-30, its class's "
        "1e-6. It is absolute: a loss summed over the batch (the author's framework) gives batch-size times "
        "the gradient of a mean.",
        "Bias, norm entries and optimizer state of a redrawn filter: the paper is silent, the code leaves "
        "them. Default: as a fresh filter's; reset_bias=False, reset_norm=False, "
        "optimizer_state='kept' are the code.",
        "Readers of a redrawn filter: neither touches them. Default 'keep'; 'zero', 'redraw' and preserve are ours.",
        "High error: the paper motivates the test with a high network error, neither its rule nor the code "
        "tests it. min_loss (off by default) is that test.",
        "Distribution: the paper draws random values from the network's initialiser; torch records none, so "
        "it is the layer class's own default unless attach(init=...) tells.",
    ),
    made_of="settings",
)


_LOOK_EVERY: Final = 100


@final
@published
class RandomOut(Recipe):
    """Redraw filters that are dead, during the first part of the training.

    A filter that no gradient reaches (a ReLU filter that is silent on every image)
    cannot learn its way back. Redrawing it is a new ticket in the lottery of initialisation, while
    the other filters train on. The paper takes a small gradient for the fact; it is small too where a whole layer
    learns nothing in a step. So here it is the reason to look, and what is redrawn has been silent for a window of
    training.

        suspect filter k  if  CGN(k) < threshold
        renew filter k    if  it was silent in all passes of at least 5 steps and 300 examples,
                              and is neither starved nor blocked (`regrow.criteria.Liveness`),
                              and step < active_fraction * total_steps
        CGN(k) = sum over i of |dL/dw_i of filter k|

        confirm="gradient":  renew filter k  if  CGN(k) < threshold    (as published)

    Args:
        threshold: The paper's tau, absolute, in the unit of the gradient norm. It scales with the
            loss and, for a summed loss, with the batch.
        active_fraction: The paper's P, 0 to 1: share of the training, from its start, in which
            filters are redrawn. Below 1 it needs ``attach(total_steps=...)``.
        norm: ``l1``, ``signed`` (as printed in the paper) or ``l2``.
        source: ``last``: gradient of the checked step. ``accumulated``: sum of the gradients since
            the last check.
        every_steps: Check every so many optimizer steps. Neither interval given: every step.
        every_epochs: Check every so many epochs; needs ``attach(steps_per_epoch=...)``.
        reset_bias: Set a redrawn filter's bias to 0.
        reset_norm: Reset the norm entries that see this filter alone.
        optimizer_state: Of redrawn entries: ``exact``, ``zeroed`` or ``kept``; see `regrow.Recipe`.
        readers: ``keep``, ``zero`` or ``redraw`` the weights that read the filter.
        preserve: Keep the network's output at a redraw: the readers' slices become 0, and the old filter's mean goes
            into their biases; needs ``attach(calibration_inputs=...)``.
        keep_one: Never redraw all filters of a layer at once.
        confirm: ``silence``: redraw what is dead, as above. ``gradient``: redraw whatever has a gradient below the
            threshold, as the paper and its code do; on networks in which a whole layer may have no gradient in a step
            that redraws living filters.
        look_every: With ``silence``: look at every layer in one window in each so many steps, whatever its gradients
            say, since a penalty in the loss gives a dead filter a gradient.
        grace_steps: Steps after a redraw in which the filter is not redrawn again. None: 0, or 1
            with ``readers='zero'`` or ``preserve``, where the new filter's own gradient is exactly 0 until its
            readers have moved.
        min_loss: Act only while the training loss is at least this.
        init: What fresh filters are drawn from; None: as ``attach`` was told.

    Raises:
        ConfigError: A setting outside its range, or `look_every` without ``silence``.

    Source:
        Cohen, Lo, Ding, "RandomOut: Using a convolutional gradient norm to win The Filter Lottery",
        ICLR 2016 workshop, Section 2. https://arxiv.org/abs/1602.05931 (v2). Differs: see ``regrow
        ls recipes`` or ``INFO.differs``.

    Examples:
        >>> RandomOut(threshold=1e-8, active_fraction=0.6, confirm="gradient").select
        Below(threshold=1e-08, keep_one=False, inclusive=False)
    """

    info = INFO

    threshold: float = 1e-8
    active_fraction: float = 0.6
    norm: Literal["l1", "signed", "l2"] = "l1"
    source: Literal["last", "accumulated"] = "last"
    every_steps: int | None = None
    every_epochs: int | None = None
    reset_bias: bool = True
    reset_norm: bool = True
    optimizer_state: OptimizerState = "exact"
    readers: Literal["keep", "zero", "redraw"] = "keep"
    preserve: bool = False
    keep_one: bool = False
    confirm: Literal["silence", "gradient"] = "silence"
    look_every: int = _LOOK_EVERY
    grace_steps: int | None = None
    min_loss: float | None = None
    init: str | None = None

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria import GradientSize, Liveness
        from regrow.renewal import Redraw
        from regrow.selection import Below

        check_choice(self.confirm, ("silence", "gradient"), name="confirm", where="randomout")
        silence = self.confirm == "silence"
        if not silence and self.look_every != _LOOK_EVERY:
            raise ConfigError(
                f"look_every={self.look_every} belongs to confirm='silence' (randomout)"
            )
        gradient = GradientSize(norm=self.norm, source=self.source)
        limit = 0.0 if silence else self.threshold
        return Parts(
            criterion=Liveness(
                gradient=gradient, threshold=self.threshold, look_every=self.look_every
            )
            if silence
            else gradient,
            select=Below(threshold=limit, inclusive=silence, keep_one=self.keep_one),
            renew=Redraw(
                bias="zero" if self.reset_bias else "keep",
                norm="reset" if self.reset_norm else "keep",
                readers=self.readers,
                preserve=self.preserve,
            ),
            when=Every(
                steps=self.every_steps,
                epochs=self.every_epochs,
                active_fraction=self.active_fraction,
                prefix="every_",
            ),
        )
