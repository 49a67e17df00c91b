"""What a filter is worth on data: its activations, the loss's derivatives, and what its absence costs.

Called by the criteria that need calibration data; `loop/measure` gives them the numbers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import Scores

HeardValues = Float[Tensor, "*S O M"]
"""What the network hears of each filter: M numbers, over examples and positions."""

Slopes = Float[Tensor, "*S N O"]
"""For each example the derivative of its loss by a gate that multiplies what the network hears of the filter."""

TIE = 1e-7
"""What the loss may add to a drop in accuracy, at most: less than one example in five million."""


def mean_activation(heard: HeardValues) -> Scores:
    """The mean size of what the network hears of each filter.

        score[o] = sum over m of |x[o, m]| / M

    Args:
        heard: (*S, O, M).

    Returns:
        (*S, O), at least 0, in float32 or wider.

    Source:
        Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, Section
        2.2 ("Activation"). Differs: theirs is the plain mean, of ReLU's outputs, where it is the same; the absolute
        value keeps the meaning where an activation is negative.

    Examples:
        >>> mean_activation(torch.tensor([[0.0, 4.0], [-1.0, 1.0]]))
        tensor([2., 1.])
    """
    return _wide(heard).abs().mean(-1)


def zero_share(heard: HeardValues) -> Scores:
    """The share of zeros in what the network hears of each filter: APoZ.

        score[o] = number of m with x[o, m] = 0 / M

    Args:
        heard: (*S, O, M).

    Returns:
        (*S, O), within [0, 1], in float32 or wider: high = silent.

    Edge cases:
        Exact zeros are counted, as a ReLU makes them. Behind activations that are negative, "at most 0" would call
        silent what the network hears well.

    Source:
        Hu et al., "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep Architectures", 2016.

    Examples:
        >>> zero_share(torch.tensor([[0.0, 4.0], [-1.0, 1.0]]))
        tensor([0.5000, 0.0000])
    """
    return (heard == 0).to(torch.promote_types(heard.dtype, torch.float32)).mean(-1)


def taylor(slopes: Slopes) -> Scores:
    """What silencing each filter changes in the loss, to first order: the mean size over the examples.

        score[o] = sum over n of |dL_n / dg_o| / N,    dL_n / dg_o = sum over positions of x dL_n / dx  at g = 1

    Args:
        slopes: (*S, N, O).

    Returns:
        (*S, O), at least 0, in float32 or wider.

    Source:
        Molchanov et al. 2017 (as `mean_activation`), equation 8. Differs: theirs is divided by the number of positions
        too. Without it the score is a change of the loss, which is the same thing in every layer; inside a layer it is
        a constant, and `layer_scaled` takes it out.

    Examples:
        >>> taylor(torch.tensor([[1.0, 0.0], [-3.0, 1.0]]))
        tensor([2.0000, 0.5000])
    """
    return _wide(slopes).abs().mean(-2)


def fisher_diagonal(slopes: Slopes) -> Scores:
    """What silencing each filter adds to the loss, to second order, with the empirical Fisher for the Hessian.

        score[o] = 1/2 sum over n of (dL_n / dg_o)^2 / N,    about 1/2 d^2 L / dg_o^2

    Optimal brain damage's saliency of the gate. The second derivative itself is not computed: for a
    log-likelihood and a model that fits its data, the mean square of the first one is the same.

    Args:
        slopes: (*S, N, O).

    Returns:
        (*S, O), at least 0, in float32 or wider.

    Source:
        LeCun, Denker, Solla, "Optimal Brain Damage", 1990 (saliency); "Faster gaze prediction with dense networks and
        Fisher pruning", 2018, arXiv 1801.05787 (empirical Fisher of a gate).

    Examples:
        >>> fisher_diagonal(torch.tensor([[1.0, 0.0], [-3.0, 1.0]]))
        tensor([2.5000, 0.2500])
    """
    return _wide(slopes).square().mean(-2) / 2


def layer_scaled(scores: Scores) -> Scores:
    """A layer's scores divided by their length, so that layers can be ranked together.

        scaled[o] = score[o] / sqrt(sum over o of score[o]^2)

    Args:
        scores: (*S, O), of one layer.

    Returns:
        (*S, O).

    Edge cases:
        Where all scores are 0 they stay 0.

    Source:
        Molchanov et al. 2017 (as `mean_activation`), Section 2.2, "Normalization".

    Examples:
        >>> layer_scaled(torch.tensor([3.0, 4.0]))
        tensor([0.6000, 0.8000])
    """
    # Squares of small scores (a Fisher of 1e-25, say) leave float32's range.
    largest = scores.abs().amax(-1, keepdim=True)
    shares = scores / torch.where(largest > 0, largest, 1.0)
    length = torch.linalg.vector_norm(shares, dim=-1, keepdim=True)
    return shares / torch.where(length > 0, length, 1.0)


def accuracy_drop(
    whole: Float[Tensor, "*S"], without: Scores, loss_rise: Scores
) -> Float[Tensor, "*S O"]:
    """How much accuracy is lost without each filter; the loss decides between equal ones.

        score[o] = whole - without[o] + 1e-7 r / (1 + |r|),    r = loss without o - loss of the whole

    On a thousand images many filters cost the same number of them. The order of the layers would decide then, and
    always for the same layer.

    Args:
        whole: Accuracy of the whole network, (*S,), within [0, 1].
        without: Accuracy without each filter, (*S, O).
        loss_rise: How much the loss rises without it, (*S, O).

    Returns:
        (*S, O), in float64. Negative where the network is better off without the filter.

    Edge cases:
        A loss that is not a number decides nothing, and infinity is the most.

    Examples:
        >>> drop = accuracy_drop(torch.tensor(0.75), torch.tensor([0.5, 0.75, 0.75]), torch.tensor([0.9, 0.1, 0.2]))
        >>> drop.argsort().tolist()
        [1, 2, 0]
    """
    rise = loss_rise.double().nan_to_num(nan=0.0)
    tie = 1 - 1 / (1 + rise.abs())  # in this form infinity is 1, not infinity / infinity
    return whole.double().unsqueeze(-1) - without.double() + TIE * tie * rise.sign()


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
