"""How two networks' weights become one: what a layer or a filter keeps of its own, and the blend (grafting)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regrow._shapes import Scores
from regrow.functional.information import PerLayer


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


def blend(own: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Mix two tensors.

        share * own + (1 - share) * partner

    Worked out from the one that keeps more, by the difference of both, so that two networks that take from each other
    come out alike:

        own + (1 - share) (partner - own)    or    partner + share (own - partner)

    Args:
        own: Any shape, floating point or complex.
        partner: The same shape.
        share: Broadcasts to it.

    Returns:
        A tensor like `own`; 16-bit numbers are mixed in float32.

    Edge cases:
        Equal numbers stay, whatever the share. A share of 1/2 gives the mean of both, with the same bits from both
        sides. Entries with a share of their own that is 1 keep their bits, also where the partner's are no numbers.

    Examples:
        >>> blend(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 5.0]), torch.tensor(0.75))
        tensor([1.5000, 5.0000])
    """
    kind = torch.promote_types(own.dtype, torch.float32)
    mine, theirs = own.to(kind), partner.to(own.device, kind)
    weight = share.detach().to("cpu", torch.float64)
    # The smaller of both shares is exact in float64: it is rounded once, and alike on both sides.
    smaller = torch.where(weight < 0.5, weight, 1.0 - weight).to(own.device, kind)
    keeps, even, alone = (
        each.to(own.device) for each in (weight > 0.5, weight == 0.5, weight == 1.0)
    )
    most, least = torch.where(keeps, mine, theirs), torch.where(keeps, theirs, mine)
    mixed = torch.where(even, (mine + theirs) * 0.5, torch.lerp(most, least, smaller))
    return torch.where(alone & (weight.ndim > 0), own, mixed.to(own.dtype))
