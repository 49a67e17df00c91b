"""How far a layer's weight is from one that keeps lengths."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import FilterRows


def isometry_deviation(weight: FilterRows) -> Float[Tensor, "*S"]:
    """The spread of a layer's squared singular values, its scale taken out.

        deviation = |W'^T W' - I|_F^2 / n,    W' = W sqrt(n) / |W|_F,    n = min(O, F)

    taken over the shorter side of W; that is the variance of the squared singular values by the square of their mean.
    0: an isometry up to its scale. Random matrices have about n / max(O, F).

    Args:
        weight: One row a unit, (*S, O, F); of a convolution all positions of the kernel in one row. Read, never
            written.

    Returns:
        At least 0, at most n - 1, in float32 or wider.

    Edge cases:
        Weights of 0: nan, since they have no scale.

    Source:
        The deviation from isometry of FIRE (ICLR 2026, arXiv 2602.08040), divided by n so that layers can be compared;
        there a convolution's positions are taken one by one.

    Examples:
        >>> round(isometry_deviation(torch.tensor([[0.0, 3.0], [3.0, 0.0]])).item(), 6)
        0.0
        >>> round(isometry_deviation(torch.tensor([[1.0, 0.0], [1.0, 0.0]])).item(), 6)
        1.0
    """
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    count, length = wide.shape[-2:]
    products = wide @ wide.mT if count <= length else wide.mT @ wide
    return deviation_of_products(products, shorter=products.shape[-1])


def deviation_of_products(products: Tensor, *, shorter: int) -> Tensor:
    """`isometry_deviation` of W W^T or W^T W, whose norms and traces are the same, and the weight's shorter side."""
    squares = products.diagonal(dim1=-2, dim2=-1).sum(-1)
    both = torch.linalg.vector_norm(products, dim=(-2, -1)).square()
    return (shorter * both / squares.square() - 1).clamp(min=0.0)
