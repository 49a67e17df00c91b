"""The lowest and the highest of all scores, where they are known without a wait."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from regrow._shapes import Scores


def ends(scores: Mapping[str, Scores]) -> tuple[Tensor, Tensor] | None:
    """Both nan if any score is; None on a device, where there are none, or where they are of several types."""
    values = list(scores.values())
    if not all(each.is_cpu for each in values) or len({each.dtype for each in values}) != 1:
        return None
    least, most = torch.cat([each.flatten() for each in values]).aminmax()
    return least, most
