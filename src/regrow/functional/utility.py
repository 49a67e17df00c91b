"""What a unit is worth to its layer: Continual Backprop's utilities, and averages that know how old they are."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regrow._shapes import Scores
from regrow.errors import ConfigError

UtilityKind = Literal["contribution", "weight", "adaptation"]


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
    kind: UtilityKind, *, outgoing: Scores, size: Scores, incoming: Scores | None = None
) -> Scores:
    """What each unit is worth in one step.

        contribution:  size[o] * outgoing[o]
        weight:        outgoing[o]
        adaptation:    1 / incoming[o]

    Args:
        kind: Which of the three.
        outgoing: Sum of the sizes of the weights that read each unit, (*S, O). Read, never written.
        size: Mean of the absolute values of what it gives, (*S, O).
        incoming: Sum of the sizes of its own weights, (*S, O); needed for ``adaptation``.

    Returns:
        (*S, O); higher = worth keeping.

    Raises:
        ConfigError: `kind` is none of the three, or ``adaptation`` without `incoming`.

    Edge cases:
        ``adaptation`` of a unit without any weights is 0: it hears nobody, so that nothing can be kept of it.

    Source:
        Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024, Equation 1 (contribution); the
        released code has all three, with means over the weights where the paper has sums, which is the same order
        within a layer.

    Examples:
        >>> unit_utility("contribution", outgoing=torch.tensor([2.0, 4.0]), size=torch.tensor([1.0, 0.0]))
        tensor([2., 0.])
    """
    if kind == "contribution":
        return size * outgoing
    if kind == "weight":
        return outgoing
    if kind == "adaptation" and incoming is not None:
        return torch.where(incoming > 0, 1.0 / incoming, 0.0)
    raise ConfigError(
        f"kind must be 'contribution', 'weight', or 'adaptation' with incoming, got {kind!r} (unit_utility)"
    )


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
