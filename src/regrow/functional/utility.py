"""What a unit is worth to its layer: Continual Backprop's utilities, and averages that know how old they are."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regrow._shapes import Scores
from regrow.errors import ConfigError

UtilityKind = Literal[
    "contribution",
    "weight",
    "adaptation",
    "zero_contribution",
    "adaptable_contribution",
    "feature_by_input",
]

FACTORS: Final[Mapping[str, frozenset[str]]] = {
    "contribution": frozenset({"size", "outgoing"}),
    "weight": frozenset({"outgoing"}),
    "adaptation": frozenset({"incoming"}),
    "zero_contribution": frozenset({"deviation", "outgoing"}),
    "adaptable_contribution": frozenset({"deviation", "outgoing", "incoming"}),
    "feature_by_input": frozenset({"deviation", "incoming"}),
}
"""What each utility is made of, by the names of `unit_utility`'s arguments."""


def input_sizes(
    weight: Float[Tensor, ...],
    *,
    kind: Literal["conv", "conv_transpose", "linear"],
    groups: int = 1,
) -> Float[Tensor, " I"]:
    """The sum of the sizes of all weights that multiply each input channel of a layer.

        size[i] = sum over outputs o that read i, and kernel positions p, of |w(o, i, p)|

    Args:
        weight: (O, I/groups, *K) for convolutions, (O, I) for linear layers, (I, O/groups, *K) for transposed ones.
            Read, never written.
        kind: What the layer is.
        groups: Groups of the convolution.

    Returns:
        (I,), in float32 or wider.

    Examples:
        >>> input_sizes(torch.tensor([[1.0, -2.0], [0.0, 3.0]]), kind="linear")
        tensor([1., 5.])
    """
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32)).abs()
    if kind == "conv_transpose":
        return wide.flatten(1).sum(1)
    by_group = wide.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return by_group.sum((1, 3)).flatten()


def unit_utility(
    kind: UtilityKind,
    *,
    size: Scores | None = None,
    deviation: Scores | None = None,
    outgoing: Scores | None = None,
    incoming: Scores | None = None,
) -> Scores:
    """What each unit is worth in one step.

        contribution:            size[o] * outgoing[o]
        weight:                  outgoing[o]
        adaptation:              1 / incoming[o]
        zero_contribution:       deviation[o] * outgoing[o]
        adaptable_contribution:  deviation[o] * outgoing[o] / incoming[o]
        feature_by_input:        deviation[o] / incoming[o]

    What a unit gives on the average can be had from a bias, so that its distance from that is what would be lost.

    Args:
        kind: Which of the six; `FACTORS` says what each needs of the following.
        size: Mean of the absolute values of what each unit gives, (*S, O). Read, never written, as the others.
        deviation: Mean of the distance of what it gives from its running mean, (*S, O).
        outgoing: Sum of the sizes of the weights that read each unit, (*S, O).
        incoming: Sum of the sizes of its own weights, (*S, O).

    Returns:
        (*S, O); higher = worth keeping.

    Raises:
        ConfigError: `kind` is none of the six, or lacks what it needs.

    Edge cases:
        1 / `incoming` of a unit without any weights is taken for 0: it hears nobody, so that nothing can be kept of it.

    Source:
        Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024, Equation 1 (contribution), and
        arXiv 2306.13812v3 (adaptable contribution); the released code has all six, with means over the weights where
        the paper has sums, which is the same order within a layer.

    Examples:
        >>> unit_utility("contribution", size=torch.tensor([1.0, 0.0]), outgoing=torch.tensor([2.0, 4.0]))
        tensor([2., 0.])
    """
    if kind not in FACTORS:
        known = ", ".join(repr(each) for each in FACTORS)
        raise ConfigError(f"kind must be {known}, got {kind!r} (unit_utility)")
    factors: list[Scores] = []
    for name, value in (("size", size), ("deviation", deviation), ("outgoing", outgoing)):
        if name in FACTORS[kind]:
            factors.append(_given(value, name, kind))
    if "incoming" in FACTORS[kind]:
        own = _given(incoming, "incoming", kind)
        factors.append(torch.where(own > 0, 1.0 / own, 0.0))
    return functools.reduce(torch.mul, factors)


def _given(value: Scores | None, name: str, kind: UtilityKind) -> Scores:
    if value is None:
        raise ConfigError(f"kind={kind!r} needs {name}, got None (unit_utility)")
    return value


def debiased(average: Scores, *, age: Int[Tensor, "*S O"], decay: float) -> Scores:
    """A running average that began at 0, as what it is an average of.

        corrected[o] = average[o] / (1 - decay^age[o])

    Without it a unit that is as good as the others looks worse as long as it is young: with a decay of 0.99 it reads
    0.63 of its value after a hundred steps, and is taken again.

    Args:
        average: u <- decay * u + (1 - decay) * value, from 0 on, (*S, O). Read, never written.
        age: How many values went into it, (*S, O).
        decay: Within [0, 1).

    Returns:
        (*S, O), in float64.

    Edge cases:
        At an age of 0 it is nan.

    Examples:
        >>> debiased(torch.tensor([0.1]), age=torch.tensor([1]), decay=0.9)
        tensor([1.0000], dtype=torch.float64)
    """
    return average.double() / (1.0 - decay ** age.double())
