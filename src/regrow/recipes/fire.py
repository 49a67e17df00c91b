"""FIRE (Han et al. 2026): where the task changes, every layer's weight becomes the nearest one that keeps lengths."""

from __future__ import annotations

from typing import final

from regrow.compose import EVERY_KIND, OptimizerState, Parts, Recipe, RecipeInfo
from regrow.recipes._no_filters import at_boundaries, no_filters
from regrow.recipes._registry import published

INFO = RecipeInfo(
    name="fire",
    title="FIRE: Frobenius-Isometry Reinitialization for Balancing the Stability-Plasticity Tradeoff",
    paper="Han, Park, Oh, Kim, Lee, Kim (ICLR 2026; arXiv 2602.08040)",
    year=2026,
    url="https://arxiv.org/abs/2602.08040",
    family="network",
    summary="Replaces every layer's weight by the nearest one that keeps lengths, where the task changes.",
    differs=(
        "The source is the released code (isaac7778/FIRE, as of 17 February 2026); the paper's full text was not at "
        "hand.",
        "The polar factor: the paper's nearest isometry is exact, its code makes ten iterations of Newton and Schulz "
        "from W / |W|_F, which leave singular values below about a sixtieth of the length short of 1. Here too.",
        "Convolutions: each position of the kernel is a matrix of its own, divided by the number of positions, as in "
        "the code. Of a convolution in groups each group is a matrix of its own here; the code takes all as one.",
        "Which layers: all convolutions and dense layers that are trained, the output layer too; in vision "
        "transformers the code takes queries and keys alone, which is include=[...] here.",
        "Dead filters: a filter of zeros stays one, here as in the code.",
        "Optimizer: the code's trainer makes a new one. Default optimizer_state='exact', which is that for the "
        "projected weights; biases and norm entries keep theirs.",
        "When: the code acts when new data come, here at regrower.boundary().",
    ),
)


@final
@published
class FIRE(Recipe):
    """Make every layer's weight the nearest one that keeps lengths, where the task changes.

    A layer that has been trained for long stretches some directions of what it hears, and no longer hears others. The
    polar factor of its weight is the nearest matrix that stretches nothing: what was learnt stays as directions, and
    all of them are heard again.

        W  <-  sqrt(out / in) / K  *  polar factor of W,        position by position of a kernel with K

    Args:
        iterations: Of Newton and Schulz, at least 1.
        every_steps: Act every so many optimizer steps instead of at boundaries.
        optimizer_state: Of the weights: ``exact``, as in a new optimizer, ``zeroed`` or ``kept``; see `regrow.Recipe`.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        Biases, norms, embeddings, and what the trace does not know as a layer stay as they are. Companions are
        projected themselves.

    Source:
        Han et al., ICLR 2026, as released. https://arxiv.org/abs/2602.08040. Differs: see ``regrow ls recipes`` or
        ``INFO.differs``.

    Examples:
        >>> FIRE(iterations=5).network
        Isometry(iterations=5)
    """

    info = INFO

    iterations: int = 10
    every_steps: int | None = None
    optimizer_state: OptimizerState = "exact"

    layers = EVERY_KIND

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.renewal.network import Isometry

        change = Isometry(iterations=self.iterations)
        when = at_boundaries(every_steps=self.every_steps)
        return {**no_filters(), "network": change, "network_when": when}
