"""Filter Grafting (Meng et al. 2020): networks that train in parallel lend each other weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from regrow.compose import RecipeInfo
from regrow.neutral import Neutral
from regrow.partnership import Memory, Mode, PartnerParts, PartnerRecipe
from regrow.recipes._registry import register
from regrow.schedule import Every

INFO = RecipeInfo(
    name="grafting",
    title="Filter Grafting for Deep Neural Networks",
    paper="Meng, Cheng, Li, Xu, Ji, Sun, Lu (CVPR 2020; arXiv 2001.05868; grafting+: arXiv 2004.12311v2)",
    year=2020,
    url="https://arxiv.org/abs/2001.05868",
    family="grafting",
    summary="Trains several networks in parallel; at the end of each epoch every layer takes a share of the weights "
    "of the same layer in the network before it, the less the more information its own weights carry.",
    differs=(
        "Share: the paper prints A arctan(c dH) + 0.5, which with its A of 0.4 leaves [0, 1]; its figure and its code "
        "have A / pi. Default A / pi, not rounded; decimals=2 is the code.",
        "Sharpness c: 500 in the paper and the first code, 10 and 5 in later code, 100 in the readme's sweep.",
        "Bins: not in the paper; 10 in the code, open above, so that the largest weight falls out. Default 10, the "
        "largest weight in the last bin; drop_maximum=True is the code.",
        "Which tensors: the paper says layers. Default mode='paper': convolutions and linear layers by their own "
        "weights; bias, norm entries and running statistics with the layer whose filters they see, found by tracing. "
        "The code works the share out at names with 'conv' and carries it over everything up to the next one, the "
        "head and shortcuts with other names included; mode='reference' is that.",
        "Integer buffers (num_batches_tracked): the code blends and truncates them; here they are copied.",
        "Order: the code's processes read each other's files; here all networks are blended from one snapshot.",
        "Optimizer: neither touches its memory. Default 'keep'; 'graft' and 'reset' are ours.",
        "The last epoch: the code tests before it grafts. Nothing is grafted after the last step of a training whose "
        "length is known; at_end=True grafts there too.",
        "Schedule: the paper's main table compares a baseline with steps against networks with different rates and "
        "cosine annealing. Rates and schedules are the training's here, not the recipe's.",
        "Filters: unit='filter' is in the released code alone, where it blends the columns of a weight first and then "
        "its rows, so that the two shares are multiplied (mode='reference'); mode='paper' takes their mean.",
        "Not a number: a layer whose own or partner's weights are not finite is left alone and reported.",
    ),
    partners=True,
    neutral=Neutral(
        decides="shares",
        settings={"amplitude": 0, "unit": "layer"},
        # A half without decimals is 0: the networks would change places.
        unless={"decimals": 0},
        choice=frozenset(
            {"amplitude", "sharpness", "criterion", "bins", "drop_maximum", "decimals", "unit"}
        ),
    ),
)


@final
@dataclass(frozen=True, kw_only=True, repr=False)
class FilterGrafting(PartnerRecipe):
    """Blend each layer with the same layer of a partner, at the end of each epoch.

    Networks that start and train apart find different filters useless. What one has nothing in, another may have:
    blended, the networks share what they found, and train on from there in different directions.

        W_k <- alpha W_k + (1 - alpha) W_{k-1}          for all k at once, the partners in a ring
        alpha = A / pi * arctan(c (H(W_k) - H(W_{k-1}))) + 0.5
        H(W)  = - sum over bins b of p_b ln(p_b)

    Args:
        partners: K, how many networks.
        criterion: H: ``entropy`` of a layer's weights, ``filter_entropy`` (sum over its filters) or ``l1``.
        amplitude: A, 0 to 1. 0 is plain averaging with the partner: the control for the adaptive weight.
        sharpness: c.
        bins: B.
        drop_maximum: The histogram as in the released code.
        decimals: Round alpha, as the released code does with 2.
        unit: ``layer``, or ``filter``: each filter by the scale of the norm layer behind it.
        mode: ``paper`` or ``reference``: whose share the tensors around a convolution take.
        memory: ``keep``, ``graft`` or ``reset`` the optimizers' memory of what is blended.
        every_epochs: Graft every so many epochs; needs ``attach_partners(steps_per_epoch=...)``.
        active_fraction: Share of the training, from its start, in which networks are grafted.
        at_end: Graft at the training's very last step too.

    Source:
        Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Section 3.
        https://arxiv.org/abs/2001.05868. Differs: see ``regrow ls recipes`` or ``INFO.differs``.

    Examples:
        >>> FilterGrafting(partners=4, amplitude=0.0).weigh.amplitude
        0.0
    """

    info = INFO

    partners: int = 2
    criterion: Literal["entropy", "filter_entropy", "l1"] = "entropy"
    amplitude: float = 0.4
    sharpness: float = 500.0
    bins: int = 10
    drop_maximum: bool = False
    decimals: int | None = None
    unit: Literal["layer", "filter"] = "layer"
    mode: Mode = "paper"
    memory: Memory = "keep"
    every_epochs: int = 1
    active_fraction: float = 1.0
    at_end: bool = False

    def compose(self) -> PartnerParts:
        """The parts that follow from the settings."""
        from regrow.weighing import ByInformation

        return PartnerParts(
            weigh=ByInformation(
                criterion=self.criterion,
                bins=self.bins,
                drop_maximum=self.drop_maximum,
                amplitude=self.amplitude,
                sharpness=self.sharpness,
                decimals=self.decimals,
                unit=self.unit,
            ),
            when=Every(
                epochs=self.every_epochs,
                active_fraction=self.active_fraction,
                at_end=self.at_end,
                prefix="every_",
            ),
        )


register(INFO, FilterGrafting)
