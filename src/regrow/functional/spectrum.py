"""How many directions the features of a layer use: ranks from the spectrum of their products."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def effective_rank(products: Float[Tensor, "*S O O"]) -> Float[Tensor, "*S"]:
    """The number of directions that features use, as the exponential of an entropy.

        p_k = s_k / sum over j of s_j,    rank = exp(-sum over k of p_k log p_k)

    with s the singular values of the features, one row an example.

    Args:
        products: H^T H of the features H, not centred, (*S, O, O); symmetric. Read, never written.

    Returns:
        Between 1 and O, in float64.

    Edge cases:
        Features that are all 0: 0. Singular values below 1e-8 of the largest are rounding, and count as 0: products
        keep no more of them in float64.

    Source:
        Roy, Vetterli, "The effective rank", EUSIPCO 2007.

    Examples:
        >>> round(float(effective_rank(torch.eye(3))), 6)
        3.0
    """
    values = _singular_values(products)
    shares = values / _total(values)
    return torch.exp(torch.special.entr(shares).sum(-1)).where(values.sum(-1) > 0, 0.0)


def share_rank(products: Float[Tensor, "*S O O"], *, delta: float = 0.01) -> Float[Tensor, "*S"]:
    """The smallest number of singular values that make up nearly all of their sum (srank).

        srank = min { k : sum over j <= k of s_j  >=  (1 - delta) * sum over j of s_j }

    Other papers call this the stable rank, which elsewhere is another number.

    Args:
        products: As in `effective_rank`.
        delta: The share that may be missing, within [0, 1).

    Returns:
        Between 1 and O, whole, in float64; 0 where all features are 0.

    Source:
        Kumar, Agarwal, Ghosh, Levine, "Implicit under-parameterization inhibits data-efficient deep reinforcement
        learning", ICLR 2021, arXiv 2010.14498; delta = 0.01 is theirs.

    Examples:
        >>> int(share_rank(torch.diag(torch.tensor([1.0, 1.0, 1e-6]))))
        2
    """
    values = _singular_values(products)
    shares = values.cumsum(-1) / _total(values)
    # A sum that is exactly the share but for rounding is the share.
    short = shares < (1.0 - delta) * (1.0 - 1e-12)
    return (short.sum(-1) + 1).double().where(values.sum(-1) > 0, 0.0)


def _singular_values(products: Tensor) -> Tensor:
    """From the largest to the smallest."""
    squares = torch.linalg.eigvalsh(products.double()).flip(-1).clamp(min=0.0)
    return squares.where(squares > 1e-16 * squares[..., :1], 0.0).sqrt()


def _total(values: Tensor) -> Tensor:
    return values.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
