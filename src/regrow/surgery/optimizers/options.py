"""Options that optimizers outside of torch have in common: the ways of weight decay, and what couples units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def lost_share(group: Mapping[str, Any], *, lr: float | Tensor) -> float | Tensor:
    """The share of itself that a parameter loses in a step by decoupled weight decay.

        lr * weight_decay,    corrected: lr^2 / max_lr * weight_decay

    Args:
        group: The options.
        lr: The learning rate.

    Returns:
        The share.

    Source:
        Corrected: Defazio, "Why gradients rapidly increase near the end of training", arXiv 2506.02285.
    """
    decay = group["weight_decay"]
    if not group.get("corrected_weight_decay", False):
        return lr * decay
    return lr**2 / group["max_lr_snapshot"] * decay


def coupling(group: Mapping[str, Any]) -> str:
    """Why an option makes the step of one entry depend on others, or cannot be followed.

    Args:
        group: The options.

    Returns:
        The option and the reason; empty where there is none.
    """
    if group.get("caution", False):
        return "caution=True divides each step by the mean of a mask over the whole tensor"
    if group.get("clipping_threshold") is not None:
        return f"clipping_threshold={group['clipping_threshold']} divides each step by a norm over the whole tensor"
    if group.get("corrected_weight_decay", False) and "max_lr_snapshot" not in group:
        return "corrected_weight_decay=True needs the largest learning rate, which this version keeps in no group"
    return ""
