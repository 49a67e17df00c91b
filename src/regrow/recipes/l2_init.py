"""L2Init (Kumar, Marklund, Van Roy 2023): every step draws the weights back a little to where they began."""

from __future__ import annotations

from typing import final

from regrow.compose import EVERY_KIND, Parts, Recipe, RecipeInfo
from regrow.recipes._no_filters import no_filters
from regrow.recipes._registry import published
from regrow.schedule import Every

INFO = RecipeInfo(
    name="l2-init",
    title="Maintaining Plasticity in Continual Learning via Regenerative Regularization",
    paper="Kumar, Marklund, Van Roy (CoLLAs 2024; arXiv 2308.11958v3)",
    year=2023,
    url="https://arxiv.org/abs/2308.11958",
    family="network",
    summary="Draws all weights back a little in every step, to what they were at the beginning.",
    differs=(
        "Where the pull is: paper and code add lambda |w - w_0|^2 to the loss, so that Adam divides it by the size of "
        "the gradients. Here it is decoupled, as weight decay in AdamW is: learning rate * strength of the way, after "
        "the step. With SGD without momentum both are the same; with Adam strengths are not comparable.",
        "Factor: the paper's gradient is 2 lambda (w - w_0), its code has half of the square, and so has this recipe.",
        "Default 0.01: the paper's best of a sweep nearly everywhere, in the form of the loss. Decoupled, the same "
        "number pulls less under Adam: search upwards.",
        "Norm layers: in the paper's formula, not in its code. Default: pulled; norms=False is the code.",
        "Which parameters: in the code all that the optimizer holds. Here those that have a gradient in the step, as "
        "with weight decay.",
        "Plasticine's L2 Init has the length |w - w_0| and not its square, so that its pull is as strong near w_0 as "
        "far from it. That is another method.",
    ),
)


@final
@published
class L2Init(Recipe):
    """Draw every parameter back to where it began, a little in each step, instead of towards 0.

    What a fresh network can learn it can learn by its first weights. A network that is held near them stays able to
    learn, while plain weight decay leads to a place where nothing is left.

        w  <-  w - lr * strength * (w - w_first)        after every step of the optimizer

    Args:
        strength: The paper's lambda, at least 0; 0 is plain training, bit for bit.
        norms: Scales and shifts of norm layers too.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        The first values are those at ``attach``: attach before the training, or load the regrower's state, which holds
        them (as much memory as the parameters, on their device, and in each checkpoint). ``lr`` is each parameter's
        own, as schedulers set it. Nothing is done to optimizer state, and nothing to companions, which follow by
        themselves. Under DistributedDataParallel attach to the wrapped model: before, each rank's weights are its own.
        A step that is not made (a gradient scaler's, a guard's) pulls nothing.

    Source:
        Kumar, Marklund, Van Roy, CoLLAs 2024, Equation 2. https://arxiv.org/abs/2308.11958 (v3). Differs: see ``regrow
        ls recipes`` or ``INFO.differs``.

    Examples:
        >>> L2Init(strength=0.1).network
        Pull(strength=0.1, norms=True)
    """

    info = INFO

    strength: float = 0.01
    norms: bool = True

    layers = EVERY_KIND
    optimizer_state = "kept"

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.renewal.network import Pull

        pull = Pull(strength=self.strength, norms=self.norms)
        return {**no_filters(), "network": pull, "network_when": Every()}
