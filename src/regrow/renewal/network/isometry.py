"""Isometry: the weights of every layer become the nearest ones that keep lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor

from regrow._checks import check_whole
from regrow.functional.isometry import isometric
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
        """Check the settings."""
        check_whole(self.iterations, name="iterations", where="fire", least=1)

    def renewed(self, tensor: NetworkTensor) -> Tensor | None:
        """Project.

        Args:
            tensor: The parameter.

        Returns:
            Its new value; None where it is no layer's weight.
        """
        filters = tensor.filters
        if filters is None or tuple(tensor.value.shape) != filters.weight_shape:
            return None
        kernel = math.prod(filters.weight_shape[2:])
        groups, outputs = filters.groups, filters.count // filters.groups
        by_filter = rows(tensor.value, filters).reshape(groups, outputs, -1, kernel)
        made = isometric(by_filter.permute(0, 3, 1, 2), iterations=self.iterations)
        return unrows(made.permute(0, 2, 3, 1).reshape(filters.count, -1), filters)
