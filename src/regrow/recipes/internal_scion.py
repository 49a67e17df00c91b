"""InternalScion (Meng et al. 2020, second source of scions): the layer's own large filters for its small ones."""

from __future__ import annotations

from typing import final

from regrow.compose import OptimizerState, Parts, Recipe, RecipeInfo
from regrow.recipes._registry import published
from regrow.schedule import Every

INFO = RecipeInfo(
    name="internal-scion",
    title="Filter Grafting for Deep Neural Networks: the network's own filters as scions",
    paper="Meng, Cheng, Li, Xu, Ji, Sun, Lu (CVPR 2020; arXiv 2001.05868)",
    year=2020,
    url="https://arxiv.org/abs/2001.05868",
    family="grafting",
    summary="Adds a layer's i-th largest filter to its i-th smallest where that one's l1 norm is below a threshold.",
    differs=(
        "Threshold: the paper's text gives no number; 0.1 is the released code's.",
        "Sums: the code adds in place, one filter after the other, so that above the middle of a layer a filter is "
        "given one that has been grafted itself. Here all sums are of the weights as they were before.",
        "Where it ends: the code goes up from the smallest filter and stops at the first that is not below the "
        "threshold; here each filter is tested on its own, and its partner follows from its place in the order.",
        "Ties and the middle: not in the paper. Equal norms are put in the order of their index, and both ends are "
        "read from one order; a filter that would be its own partner (the middle of an odd number, the only one of a "
        "layer) is left as it is instead of doubled, though the report lists it.",
        "Weights that are not finite: not in the paper. Such filters give nothing and are given nothing.",
        "Last step: the code grafts after the last epoch too, and what it then has was never trained. Here nothing is "
        "added at the training's last step, where total_steps is known; at_end=True is the code.",
        "When it is measured: the code looks after an epoch, here filters are chosen right before the epoch's last "
        "optimizer step; they are put in order and added right behind it.",
        "What is touched: a filter's weights alone, in paper and code; bias, norm entries and readers stay. Filters of "
        "the convolutions that attach watches, whatever their module is called; the code goes by names.",
        "Optimizer state: not in the paper, kept in the code and here; optimizer_state='exact' (ours) forgets it.",
        "Part of the training: all of it in paper and code; active_fraction is ours.",
    ),
)


@final
@published
class InternalScion(Recipe):
    """Add a layer's largest filters to those whose weights are next to nothing, at the end of each epoch.

    The second of the three scions of Filter Grafting. It needs no other network, and brings no information that the
    layer has not got: a filter of zeros becomes the copy of another.

        W_(i)  <-  W_(i) + W_(O+1-i)    if  |W_(i)|_1 < threshold,    (1) ... (O) in the order of the l1 norms

    Args:
        threshold: The paper's gamma: an l1 norm, at least 0. Absolute, the same for short filters and long ones.
        every_epochs: Check every so many epochs; needs ``attach(steps_per_epoch=...)``.
        active_fraction: Share of the training, from its start, in which filters are added. Below 1 it needs
            ``attach(total_steps=...)``.
        at_end: Also at the very last step of the training, after which nobody trains the filter.
        optimizer_state: ``kept``, or as if the filter were a new one, ``exact`` or ``zeroed``; see `regrow.Recipe`.

    Edge cases:
        See `regrow.renewal.AddStrongest`: ties, the middle of a layer, more than half of it below the threshold.

    Source:
        Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Section 3.
        https://arxiv.org/abs/2001.05868. Differs: see ``regrow ls recipes`` or ``INFO.differs``.

    Examples:
        >>> InternalScion(threshold=0.05).select
        Below(threshold=0.05, keep_one=False, inclusive=False)
    """

    info = INFO

    threshold: float = 0.1
    every_epochs: int = 1
    active_fraction: float = 1.0
    at_end: bool = False
    optimizer_state: OptimizerState = "kept"

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria import WeightNorm
        from regrow.renewal import AddStrongest
        from regrow.selection import Below

        return Parts(
            criterion=WeightNorm(norm="l1", normalise=False),
            select=Below(threshold=self.threshold),
            renew=AddStrongest(reset_optimizer=self.optimizer_state != "kept"),
            when=Every(
                epochs=self.every_epochs,
                active_fraction=self.active_fraction,
                at_end=self.at_end,
                prefix="every_",
            ),
        )
