"""Whether what a filter gives says anything: the spread of its values in one forward pass."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

TOLERANCE = 1e-6
"""Of the layer's largest value: what rounding makes of equal numbers."""


def silent(
    low: Float[Tensor, "*S O"],
    high: Float[Tensor, "*S O"],
    *,
    largest: Float[Tensor, "*S"],
    values: Int[Tensor, "*S O"] | None = None,
    tolerance: float = TOLERANCE,
) -> Bool[Tensor, "*S O"]:
    """Filters all of whose values in a pass are equal, so that nobody can learn anything from them.

    A filter that gives 0 to every example is silent, and so is one that gives 5 to every example, as a saturated unit
    does: a bias in its readers says the same.

        silent_k  =  high_k - low_k  <=  tolerance * largest

    Args:
        low: The smallest value that each filter gives its readers in the pass, over examples and positions.
        high: The largest.
        largest: The largest absolute value of all filters of the layer.
        values: How many values each gives. A single one says nothing of its spread: it is silent if it is 0. None:
            more than one.
        tolerance: As above, a share.

    Returns:
        True where silent.

    Edge cases:
        Values that are not numbers are not silent. A layer of zeros is silent.

    Examples:
        >>> import torch
        >>> silent(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([0.0, 2.0, 5.0]), largest=torch.tensor(5.0))
        tensor([ True, False,  True])
    """
    equal = high - low <= tolerance * largest.unsqueeze(-1)
    if values is None:
        return equal
    return equal & ((values > 1) | (low == 0))
