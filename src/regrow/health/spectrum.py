"""How many directions the features of a layer use: ranks from the spectrum of their products."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def singular_values(products: Float[Tensor, "*S O O"]) -> Float[Tensor, "*S O"]:
    """The singular values of features, from their products.

    Products are summed up batch by batch, where the features themselves would not fit.

        s_k = sqrt(the k-th largest eigenvalue of H^T H)

    Args:
        products: H^T H of the features H, one row an example, (*S, O, O); symmetric. Read, never written.

    Returns:
        (*S, O), from the largest to the smallest, in float64.

    Edge cases:
        Values below 1e-8 of the largest are rounding, and are 0: products keep no more of them in float64.

    Examples:
        >>> features = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        >>> singular_values(features.mT @ features)
        tensor([4., 3.], dtype=torch.float64)
    """
    squares = torch.linalg.eigvalsh(products.double()).flip(-1).clamp(min=0.0)
    return squares.where(squares > 1e-16 * squares[..., :1], 0.0).sqrt()


def effective_rank(values: Float[Tensor, "*S O"]) -> Float[Tensor, "*S"]:
    """The number of directions that features use, as the exponential of an entropy.

        p_k = s_k / sum over j of s_j,    rank = exp(-sum over k of p_k log p_k)

    Args:
        values: Singular values of the features, not centred, (*S, O), at least 0. Read, never written.

    Returns:
        Between 1 and O.

    Edge cases:
        Features that are all 0: 0.

    Source:
        Roy, Vetterli, "The effective rank", EUSIPCO 2007.

    Examples:
        >>> round(float(effective_rank(torch.ones(3))), 4)
        3.0
    """
    shares = values / _total(values)
    return torch.exp(torch.special.entr(shares).sum(-1)).where(values.sum(-1) > 0, 0.0)


def share_rank(values: Float[Tensor, "*S O"], *, delta: float = 0.01) -> Float[Tensor, "*S"]:
    """The smallest number of singular values that make up nearly all of their sum (srank).

        srank = min { k : sum over j <= k of s_j  >=  (1 - delta) * sum over j of s_j }

    Other papers call this the stable rank, which elsewhere is another number.

    Args:
        values: As in `effective_rank`, from the largest to the smallest.
        delta: The share that may be missing, within [0, 1).

    Returns:
        Between 1 and O, whole, in the type of `values`; 0 where all features are 0.

    Source:
        Kumar, Agarwal, Ghosh, Levine, "Implicit under-parameterization inhibits data-efficient deep reinforcement
        learning", ICLR 2021, arXiv 2010.14498; delta = 0.01 is theirs.

    Examples:
        >>> share_rank(torch.tensor([1.0, 1.0, 1e-3]))
        tensor(2.)
    """
    shares = values.cumsum(-1) / _total(values)
    # A sum that is exactly the share but for rounding is the share.
    short = shares < (1.0 - delta) * (1.0 - 8 * torch.finfo(values.dtype).eps)
    return (short.sum(-1) + 1).to(values.dtype).where(values.sum(-1) > 0, 0.0)


def _total(values: Tensor) -> Tensor:
    return values.sum(-1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
