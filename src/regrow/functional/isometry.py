"""The nearest matrix that keeps lengths, by Newton and Schulz's iteration (FIRE), and how far one is from that."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import FilterRows


def polar_factor(
    matrix: Float[Tensor, "*S R C"], *, iterations: int = 10
) -> Float[Tensor, "*S R C"]:
    """The semi-orthogonal matrix next to a matrix: the same singular vectors, and singular values of 1, nearly.

        X_0 = W / |W|_F,        X_{k+1} = 1.5 X_k - 0.5 X_k X_k^T X_k

    Args:
        matrix: (*S, R, C), wide or tall. Read, never written.
        iterations: How many; each makes small singular values at most half as large again.

    Returns:
        (*S, R, C) in `matrix`'s dtype; worked out in float32 at least.

    Edge cases:
        A matrix of zeros stays one, and so does each row or column of zeros: what is dead is not revived.
        Singular values far below the length of the matrix are still below 1 at the end: after 10 iterations those
        below about 1.5^-10, one in sixty.

    Source:
        FIRE, ICLR 2026 (arXiv 2602.08040), as released (isaac7778/FIRE); Higham, "Functions of Matrices", 2008,
        Section 8.3.

    Examples:
        >>> polar_factor(torch.tensor([[3.0, 0.0], [0.0, -2.0]]))
        tensor([[ 1.,  0.],
                [ 0., -1.]])
    """
    wide = torch.promote_types(matrix.dtype, torch.float32)
    x = matrix.to(wide)
    flat = x.shape[-2] <= x.shape[-1]
    x = x if flat else x.mT
    length = torch.linalg.matrix_norm(x, keepdim=True)
    x = x / torch.where(length > 0, length, 1.0)
    for _ in range(iterations):
        x = 1.5 * x - 0.5 * (x @ x.mT) @ x
    return (x if flat else x.mT).to(matrix.dtype)


def isometric(
    taps: Float[Tensor, "*S K O I"], *, iterations: int = 10
) -> Float[Tensor, "*S K O I"]:
    """A layer's weight as the nearest one that keeps lengths, at the scale at which it keeps what units give.

        sqrt(O / I) / K  *  polar factor of each tap

    Args:
        taps: (*S, K, O, I), one matrix for each of the K positions of a kernel; K = 1 for a dense layer. Read, never
            written.
        iterations: As in `polar_factor`.

    Returns:
        (*S, K, O, I) in the dtype of `taps`.

    Source:
        FIRE, as in `polar_factor`.

    Examples:
        >>> isometric(torch.tensor([[[2.0], [0.0], [0.0], [0.0]]]))[0, :, 0]
        tensor([2., 0., 0., 0.])
    """
    kernel, outputs, inputs = taps.shape[-3:]
    scale = math.sqrt(outputs / inputs) / kernel
    return scale * polar_factor(taps, iterations=iterations)


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


def deviation_of_products(products: torch.Tensor, *, shorter: int) -> torch.Tensor:
    """`isometry_deviation` of W W^T or W^T W, whose norms and traces are the same, and the weight's shorter side."""
    squares = products.diagonal(dim1=-2, dim2=-1).sum(-1)
    both = torch.linalg.vector_norm(products, dim=(-2, -1)).square()
    return (shorter * both / squares.square() - 1).clamp(min=0.0)
