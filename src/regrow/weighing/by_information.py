"""How much of its own weights a network keeps when it takes over a partner's.

Asked by `partners` for each layer of two networks; what a layer carries is measured by `weighing/information`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, final, get_args

import torch

from regrow._checks import check_choice, check_flag, check_fraction, check_positive, check_whole
from regrow._renamed import renamed
from regrow._shapes import FilterRows, Scores
from regrow.weighing.information import PerLayer, filter_entropies, weight_entropy, weight_l1

Measure = Literal["entropy", "filter_entropy", "l1"]
"""What is taken for a layer's information."""


class Weighing(Protocol):
    """Two layers to the share that the first one keeps of its own."""

    @property
    def by_filter(self) -> bool:
        """Whether each filter has a share of its own, by the scales of the norm layer behind it."""
        ...

    def measure(self, filters: FilterRows) -> PerLayer:
        """The information of a layer: what partners tell each other beside their weights."""
        ...

    def share(self, own: PerLayer, partner: PerLayer) -> PerLayer:
        """The share of its own weights that a layer keeps."""
        ...

    def share_by_scale(self, own: Scores, partner: Scores) -> Scores:
        """The share that each filter keeps, where `by_filter`."""
        ...


@final
@renamed({"measure_by": "criterion"})
@dataclass(frozen=True, kw_only=True)
class ByInformation:
    """The layer that carries more information keeps more of its weights.

        alpha = A / pi * arctan(c (H - H_partner)) + 0.5

    Args:
        criterion: H: ``entropy`` of the layer's weights, ``filter_entropy`` (the sum of its filters' entropies) or
            ``l1`` (the sum of its weights' absolute values).
        bins: B of the histograms.
        drop_maximum: Leave the largest weight out of the last bin, as the released code does.
        amplitude: A, within [0, 1]; 0 is plain averaging.
        sharpness: c, above 0.
        decimals: Round alpha; None: not at all.
        unit: ``layer``, or ``filter``: a filter keeps the share of its norm layer's scale, and only layers without
            norms go by information.

    Raises:
        ConfigError: A setting out of range.

    Source:
        Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Section 3.3, equations 4 and 5.

    Examples:
        >>> import torch
        >>> weigh = ByInformation(criterion="l1", sharpness=1.0)
        >>> small, large = weigh.measure(torch.ones(2, 3)), weigh.measure(2 * torch.ones(2, 3))
        >>> float(weigh.share(large, small)) > 0.5
        True
    """

    criterion: Measure = "entropy"
    bins: int = 10
    drop_maximum: bool = False
    amplitude: float = 0.4
    sharpness: float = 500.0
    decimals: int | None = None
    unit: Literal["layer", "filter"] = "layer"

    def __post_init__(self) -> None:
        check_choice(self.criterion, get_args(Measure), name="criterion", where="weighing")
        check_choice(self.unit, ("layer", "filter"), name="unit", where="weighing")
        check_whole(self.bins, name="bins", where="weighing", least=1)
        if self.decimals is not None:
            check_whole(self.decimals, name="decimals", where="weighing")
        check_flag(self.drop_maximum, name="drop_maximum", where="weighing")
        check_fraction(self.amplitude, name="amplitude", where="weighing")
        check_positive(self.sharpness, name="sharpness", where="weighing")

    @property
    def by_filter(self) -> bool:
        """Whether filters have shares of their own."""
        return self.unit == "filter"

    def measure(self, filters: FilterRows) -> PerLayer:
        """The information of a layer, (*S,) in float64."""
        if self.criterion == "l1":
            return weight_l1(filters.flatten(-2))
        if self.criterion == "filter_entropy":
            return filter_entropies(filters, bins=self.bins, drop_maximum=self.drop_maximum)
        return weight_entropy(filters.flatten(-2), bins=self.bins, drop_maximum=self.drop_maximum)

    def share(self, own: PerLayer, partner: PerLayer) -> PerLayer:
        """Alpha, by `own_share`."""
        return own_share(
            own,
            partner,
            amplitude=self.amplitude,
            sharpness=self.sharpness,
            decimals=self.decimals,
        )

    def share_by_scale(self, own: Scores, partner: Scores) -> Scores:
        """Each filter's share, by `scale_share`."""
        return scale_share(own, partner)


def own_share(
    own: PerLayer,
    partner: PerLayer,
    *,
    amplitude: float = 0.4,
    sharpness: float = 500.0,
    decimals: int | None = None,
) -> PerLayer:
    """The share of its own weights that a layer keeps when it takes over a partner's: alpha.

        alpha = A / pi * arctan(c (H - H_partner)) + 0.5,   new weights = alpha W + (1 - alpha) W_partner

    The layer with more information keeps more; both together make 1, so that of two partners nothing is lost.

    Args:
        own: H, the information of the layer.
        partner: That of the partner's layer.
        amplitude: A, within [0, 1]; 0 is plain averaging.
        sharpness: c, above 0.
        decimals: Round alpha to so many, as the released code does (2); None: not at all.

    Returns:
        alpha, within [0.5 - A / 2, 0.5 + A / 2].

    Source:
        Meng et al. 2020, equation 5. Differs: the paper prints A arctan(...) + 0.5, which with its A of 0.4 leaves
        [0, 1]; its figure and its code have A / pi.

    Examples:
        >>> own_share(torch.tensor(2.0), torch.tensor(2.0))
        tensor(0.5000)
        >>> own_share(torch.tensor(2.0), torch.tensor(1.9), decimals=2)
        tensor(0.7000)
    """
    share = amplitude / math.pi * torch.atan(sharpness * (own - partner)) + 0.5
    return share if decimals is None else share.round(decimals=decimals)


def scale_share(own: Scores, partner: Scores) -> Scores:
    """The share of its own weights that a filter keeps, by the scales of the norm layer behind it.

        w_j = |g_j| / (|g_j| + |g_j of the partner|)

    Args:
        own: (*S, O), the norm's scales g.
        partner: (*S, O), the partner's.

    Returns:
        (*S, O), within [0, 1].

    Edge cases:
        Both scales 0: 1/2.

    Source:
        The filter-level variant of the released code (Meng et al. 2020); the paper does not have it.

    Examples:
        >>> scale_share(torch.tensor([3.0, 0.0]), torch.tensor([-1.0, 0.0]))
        tensor([0.7500, 0.5000])
    """
    mine, theirs = own.abs(), partner.abs()
    both = mine + theirs
    return torch.where(both > 0, mine / both.where(both > 0, 1.0), 0.5)
