"""Units that say what another unit of their layer says already."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import Scores


def largest_cosine(products: Float[Tensor, "*S O O"]) -> Scores:
    """How alike the most similar other unit of the layer is.

        score[o] = max over j != o of  P[o, j] / sqrt(P[o, o] P[j, j])

    With P = W W^T it is the cosine of two units' weights; with the covariance of what units give it is their
    correlation.

    Args:
        products: (*S, O, O), symmetric. Read, never written.

    Returns:
        (*S, O), within [-1, 1] but for rounding.

    Edge cases:
        A unit whose own product is 0 (or below 1e-12 of the layer's largest, which is rounding) has no direction: -1,
        and nobody is like it. A single unit: -1.

    Source:
        Duplicate units as counted by Joudaki et al. (arXiv 2510.00304), who call two units duplicates from a
        correlation of 0.95 on.

    Examples:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> largest_cosine(rows @ rows.mT)
        tensor([1., 1., 0.])
    """
    own = products.diagonal(dim1=-2, dim2=-1)
    there = own > 1e-12 * own.amax(-1, keepdim=True)
    length = own.where(there, 1.0).sqrt()
    cosines = products / (length.unsqueeze(-1) * length.unsqueeze(-2))
    both = there.unsqueeze(-1) & there.unsqueeze(-2)
    itself = torch.eye(products.shape[-1], dtype=torch.bool, device=products.device)
    return cosines.where(both & ~itself, -1.0).amax(-1)
