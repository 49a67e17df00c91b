"""How far a unit is moved towards a fresh one, by how much it is worth: CPR's transforms."""

from __future__ import annotations

import math
from typing import Literal

import torch

from regrow._shapes import Scores
from regrow.errors import ConfigError

Transform = Literal["sigmoid", "exp", "softplus", "linear"]


def renewal_strength(
    utility: Scores, *, transform: Transform, sharpness: float, threshold: float
) -> Scores:
    """The share of a renewal that each unit is due, falling with what it is worth.

    With x = sharpness * (utility - threshold):

        sigmoid:   min(2 / (1 + exp(x)), 1)
        exp:       min(exp(-x), 1)
        softplus:  min(log(1 + exp(-x)) / log 2, 1)
        linear:    1 - x, cut to [0, 1]

    All of them are 1 up to the threshold, and fall towards 0 behind it.

    Args:
        utility: (*S, O), higher = worth keeping. Read, never written.
        transform: Which of the four.
        sharpness: How quickly it falls, per unit of utility; at least 0.
        threshold: Up to which utility all of it is due.

    Returns:
        (*S, O) within [0, 1], in the type of `utility`.

    Raises:
        ConfigError: `transform` is none of the four.

    Edge cases:
        A utility that is not finite is due nothing.

    Source:
        "Calibrated partial resets", arXiv 2607.24996, as released (LucMc/continual-learning, ``cpr.py``).

    Examples:
        >>> renewal_strength(torch.tensor([0.5, 1.0, 2.0]), transform="linear", sharpness=0.5, threshold=1.0)
        tensor([1.0000, 1.0000, 0.5000])
    """
    x = sharpness * (utility - threshold)
    if transform == "sigmoid":
        due = 2.0 * torch.sigmoid(-x)
    elif transform == "exp":
        due = torch.exp(-x)
    elif transform == "softplus":
        due = torch.nn.functional.softplus(-x) / math.log(2.0)
    elif transform == "linear":
        due = 1.0 - x
    else:
        raise ConfigError(
            f"transform must be 'sigmoid', 'exp', 'softplus' or 'linear', got {transform!r} (renewal_strength)"
        )
    return torch.where(utility.isfinite(), due.clamp(0.0, 1.0), 0.0)
