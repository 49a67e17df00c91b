"""NoiseScion (Meng et al. 2020, first source of scions): noise for filters whose weights are next to nothing."""

from __future__ import annotations

from typing import final

from regrow.compose import OptimizerState, Parts, Recipe, RecipeInfo
from regrow.recipes._registry import published
from regrow.schedule import Every

INFO = RecipeInfo(
    name="noise-scion",
    title="Filter Grafting for Deep Neural Networks: noise as scion",
    paper="Meng, Cheng, Li, Xu, Ji, Sun, Lu (CVPR 2020; arXiv 2001.05868)",
    year=2020,
    url="https://arxiv.org/abs/2001.05868",
    family="grafting",
    summary="Adds Gaussian noise, less with every epoch, to filters whose l1 norm is below a threshold.",
    differs=(
        "Numbers: the paper's text gives neither the threshold nor a of sigma_t = a^t; 0.1 and 0.975 are the released "
        "code's.",
        "Epochs: the code counts from 0, so that its first noise has standard deviation 1; the paper does not say "
        "where t begins. Here t is the number of epochs done: 0.975 after the first.",
        "N(0, sigma_t): the paper leaves open whether sigma_t is the variance or the standard deviation. The latter, "
        "as in the code.",
        "Last step: the code adds noise after the last epoch too, and what it then has was never trained. Here nothing "
        "is added at the training's last step, where total_steps is known; at_end=True is the code.",
        "When it is measured: the code looks after an epoch, here filters are chosen right before the epoch's last "
        "optimizer step, and the noise is added right behind it.",
        "What is touched: a filter's weights alone, in paper and code; bias, norm entries and readers stay. Filters of "
        "the convolutions that attach watches, whatever their module is called; the code goes by names.",
        "Optimizer state: not in the paper, kept in the code and here; optimizer_state='exact' (ours) forgets it.",
        "Part of the training: all of it in paper and code; active_fraction is ours.",
        "Random numbers: by seed, step, layer and filter, so that a resumed run is bit-equal; the code's are "
        "torch's own.",
    ),
)


@final
@published
class NoiseScion(Recipe):
    """Add noise to filters whose weights are next to nothing, at the end of each epoch, less with every one.

    The cheapest of the three scions of Filter Grafting: it needs no other network, and it knows nothing of what a
    filter should become.

        W_f  <-  W_f + decay^t * N(0, 1)    if  |W_f|_1 < threshold,    t = epochs done

    Args:
        threshold: The paper's gamma: an l1 norm, at least 0. Absolute, the same for short filters and long ones.
        decay: The paper's a, above 0 and at most 1.
        every_epochs: Check every so many epochs; needs ``attach(steps_per_epoch=...)``.
        active_fraction: Share of the training, from its start, in which noise is added. Below 1 it needs
            ``attach(total_steps=...)``.
        at_end: Also at the very last step of the training, after which nobody trains the filter.
        optimizer_state: ``kept``, or as if the filter were a new one, ``exact`` or ``zeroed``; see `regrow.Recipe`.

    Edge cases:
        A filter of zeros gets noise like any other. A filter that is still below the threshold an epoch later gets
        noise again, and counts as renewed again.

    Source:
        Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Section 3.
        https://arxiv.org/abs/2001.05868. Differs: see ``regrow ls recipes`` or ``INFO.differs``.

    Examples:
        >>> NoiseScion().select
        Below(threshold=0.1, keep_one=False, inclusive=False)
    """

    info = INFO

    threshold: float = 0.1
    decay: float = 0.975
    every_epochs: int = 1
    active_fraction: float = 1.0
    at_end: bool = False
    optimizer_state: OptimizerState = "kept"

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.criteria import WeightNorm
        from regrow.renewal import AddNoise
        from regrow.selection import Below

        return Parts(
            criterion=WeightNorm(norm="l1", normalise=False),
            select=Below(threshold=self.threshold),
            renew=AddNoise(decay=self.decay, reset_optimizer=self.optimizer_state != "kept"),
            when=Every(
                epochs=self.every_epochs,
                active_fraction=self.active_fraction,
                at_end=self.at_end,
                prefix="every_",
            ),
        )
