"""Isometry: the weights of every layer become the nearest ones that keep lengths, by Newton and Schulz (FIRE)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._checks import check_whole
from regrow.graph.slices import rows, unrows
from regrow.renewal.network.base import NetworkRenewal, NetworkTensor


@final
@dataclass(frozen=True, kw_only=True)
class Isometry(NetworkRenewal):
    """Every layer's weight becomes the nearest one that keeps lengths: what it has learnt stays as directions.

        W[:, :, k]  <-  sqrt(out / in) / K  *  polar factor of W[:, :, k]        for each of the K positions of a kernel

    Args:
        iterations: Of Newton and Schulz, at least 1; see `regrow.functional.polar_factor`.

    Raises:
        ConfigError: A number of iterations that is not whole or below 1.

    Edge cases:
        Of a convolution in groups each group is a matrix of its own. Biases, norms and what is no convolution or dense
        layer stay as they are. A filter of zeros stays one.

    Source:
        FIRE, ICLR 2026. https://arxiv.org/abs/2602.08040
    """

    iterations: int = 10

    def __post_init__(self) -> None:
        check_whole(self.iterations, name="iterations", where="fire", least=1)

    def renewed(self, tensor: NetworkTensor) -> Tensor | None:
        """Project; what is no layer's weight stays."""
        filters = tensor.filters
        if filters is None or tuple(tensor.value.shape) != filters.weight_shape:
            return None
        kernel = math.prod(filters.weight_shape[2:])
        groups, outputs = filters.groups, filters.count // filters.groups
        by_filter = rows(tensor.value, filters).reshape(groups, outputs, -1, kernel)
        made = isometric(by_filter.permute(0, 3, 1, 2), iterations=self.iterations)
        return unrows(made.permute(0, 2, 3, 1).reshape(filters.count, -1), filters)


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
