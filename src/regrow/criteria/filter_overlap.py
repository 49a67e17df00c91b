"""Inter-filter overlap: filters that others of their layer carry already score low.

RePr's criterion. `health/layer_values` and `lab/diagnostics` measure with its formula too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import torch

from regrow._checks import check_choice
from regrow._shapes import FilterRows, Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary
from regrow.errors import ConfigError

_TINY = 1e-12
"""A filter whose norm is under this share of the layer's largest has no direction."""


def filter_overlap(
    weight: FilterRows,
    *,
    groups: int = 1,
    normalise: Literal["row", "matrix"] = "row",
    corrected: bool = False,
) -> Scores:
    """How much each filter overlaps with the others of its layer; large = little of its own.

    With J filters as rows of W, their lengths taken out (``row``, as the paper's text means it):

        P = |W' W'^T - I|,   overlap(f) = sum over j of P[f, j] / J

    The author's code divides W by its Frobenius norm instead and takes the absolute value after the mean, so that
    products of different signs cancel (``matrix``):

        overlap(f) = |sum over j != f of (W W^T)[f, j] / J| / |W|^2

    Args:
        weight: (*S, J, F), one row a filter.
        groups: Of a grouped convolution: filters of different groups read different inputs, so that their rows of the
            whole W have no entry in common and their product is 0.
        normalise: ``row`` or ``matrix``.
        corrected: Take out what random filters of as many numbers would have, so that layers can be ranked together:
            (J / groups - 1) / J times `expected_overlap`. Ours; only with ``row``.

    Returns:
        (*S, J).

    Raises:
        ValueError: `corrected` with ``matrix``.

    Edge cases:
        A filter without a length has no cosine (0 / 0 in the paper): it carries nothing, and its own
        overlap is counted as full with every other; theirs do not count it. One filter alone: 0.

    Source:
        Prakash et al., "RePr: Improved Training of Convolutional Filters", CVPR 2019, Section 4, equations 1 and 2; the
        author's released code for ``matrix``.

    Examples:
        >>> filter_overlap(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        tensor([0.3333, 0.3333, 0.0000])
    """
    if corrected and normalise == "matrix":
        raise ValueError("corrected=True needs normalise='row': other overlaps are no cosines")
    count, numbers = weight.shape[-2:]
    near = count // groups
    other = ~torch.eye(near, dtype=torch.bool, device=weight.device)
    if normalise == "matrix":
        length = torch.linalg.vector_norm(weight, dim=(-2, -1), keepdim=True)
        scale = length.clamp(min=torch.finfo(weight.dtype).tiny)
        products = _products(weight / scale, groups).where(other, 0.0)
        return products.sum(-1).reshape(weight.shape[:-1]).abs() / count
    norms = torch.linalg.vector_norm(weight, dim=-1, keepdim=True)
    longest = norms.amax(-2, keepdim=True)
    empty = (norms <= _TINY * longest) | (longest == 0)
    # A row without a length is divided by 1 and stays next to 0, so that it overlaps with nobody. Divided by its own
    # norm it would be noise of length 1, or nan in the scores of the whole layer.
    cosines = _products(weight / norms.where(~empty, 1.0), groups).abs().where(other, 0.0)
    sums = cosines.sum(-1).reshape(weight.shape[:-1])
    overlap = sums.where(~empty.squeeze(-1), float(count - 1)) / count
    if corrected:
        overlap = overlap - expected_overlap(numbers) * (near - 1) / count
    return overlap


def overlap_of_products(products: torch.Tensor, groups: int) -> torch.Tensor:
    """`filter_overlap` by rows, where W W^T is there already, in blocks of the groups, (groups, near, near)."""
    squares = products.diagonal(dim1=-2, dim2=-1)
    norms = squares.clamp(min=0.0).sqrt()
    longest = norms.amax()
    empty = (norms <= _TINY * longest) | (longest == 0)
    scale = norms.where(~empty, 1.0)
    # What a filter is with itself is taken off: the sums need no mask as large as the products.
    sums = (products / (scale.unsqueeze(-1) * scale.unsqueeze(-2))).abs().sum(-1)
    sums = sums - squares / scale.square()
    count = groups * products.shape[-1]
    return (sums.clamp(min=0.0).where(~empty, float(count - 1)) / count).flatten()


def expected_overlap(length: int) -> float:
    """The mean |cosine| of two random directions.

        E|cos| = Gamma(d / 2) / (sqrt(pi) Gamma((d + 1) / 2)),  about sqrt(2 / (pi d))

    It is 0.15 for the 27 numbers of a first 3x3 filter and 0.05 for 288: without taking it out, a ranking of the
    whole network looks at the number of inputs before it looks at the filters.

    Args:
        length: Numbers in a filter, d, at least 1.

    Returns:
        Between 0 and 1.

    Examples:
        >>> round(expected_overlap(27), 3)
        0.155
    """
    return math.exp(math.lgamma(length / 2) - math.lgamma((length + 1) / 2)) / math.sqrt(math.pi)


def _products(rows: FilterRows, groups: int) -> torch.Tensor:
    """W W^T, or its blocks of the groups."""
    if groups > 1:
        rows = rows.unflatten(-2, (groups, rows.shape[-2] // groups))
    return rows @ rows.mT


@final
@dataclass(frozen=True, kw_only=True)
class FilterOverlap(Momentary):
    """Minus `regrow.functional.filter_overlap` of the weights as they are.

    Args:
        normalise: As there.
        corrected: As there.

    Raises:
        ConfigError: Another normalisation, or `corrected` with ``matrix``.
    """

    normalise: Literal["row", "matrix"] = "row"
    corrected: bool = False

    def __post_init__(self) -> None:
        check_choice(self.normalise, ("row", "matrix"), name="normalise", where="filter overlap")
        if self.corrected and self.normalise == "matrix":
            raise ConfigError("corrected=True needs normalise='row' (filter overlap)")

    needs = frozenset({Signal.WEIGHTS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """Overlaps of the weights as they are."""
        weight = observation.weight
        if weight is None:
            return None
        # In bfloat16 a cosine has two digits, and most filters of a layer would be equal.
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        return -filter_overlap(
            wide, groups=observation.groups, normalise=self.normalise, corrected=self.corrected
        )
