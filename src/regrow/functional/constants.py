"""What a constant input adds to a layer's output: what must be moved when a channel is cut off."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from regrow.errors import ShapeError


def constant_response(
    weight: Float[Tensor, ...],
    means: Float[Tensor, " I"],
    *,
    kind: Literal["conv", "conv_transpose", "linear"],
    groups: int = 1,
    taps: float = 1.0,
) -> Float[Tensor, " O"]:
    """The output of a convolution or linear layer, without its bias, whose input channels are constant.

    A channel that is cut off takes its mean response with it. Added to the bias, that response keeps the layer's
    output where the channel was constant.

        response(o) = taps * sum over i of mean(i) * sum over kernel positions p of w(o, i, p)

    Args:
        weight: (O, I/groups, *K) for convolutions, (O, I) for linear layers, (I, O/groups, *K) for transposed ones.
            Zero where a channel is not meant.
        means: (I,), the channels' values.
        kind: What the layer is.
        groups: Groups of the convolution.
        taps: The share of the kernel's positions that meet at one output position; 1 without a stride in a transposed
            convolution.

    Returns:
        (O,).

    Raises:
        ShapeError: `means` has not one entry an input channel.

    Edge cases:
        Zero padding adds zeros, not the constant: at the border the true response is smaller. In a transposed
        convolution with a stride the number of positions that meet can differ from output to output; this is their
        mean.

    Examples:
        >>> import torch
        >>> constant_response(torch.ones(1, 2, 3, 3), torch.tensor([1.0, 0.5]), kind="conv")
        tensor([13.5000])
    """
    summed = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
    inputs = summed.shape[0] if kind == "conv_transpose" else summed.shape[1] * groups
    if means.shape != (inputs,):
        raise ShapeError(
            f"means of shape ({inputs},) are needed, got {tuple(means.shape)} (constant response)"
        )
    per_group = means.reshape(groups, -1)
    if kind == "conv_transpose":
        by_group = summed.reshape(groups, inputs // groups, -1)  # (g, I/g, O/g)
        return taps * (by_group * per_group[:, :, None]).sum(1).reshape(-1)
    by_group = summed.reshape(groups, summed.shape[0] // groups, -1)  # (g, O/g, I/g)
    return taps * (by_group * per_group[:, None, :]).sum(2).reshape(-1)
