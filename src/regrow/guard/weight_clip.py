"""WeightClip: weights stay within the bounds of their initialiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from regrow._checks import check_flag, check_positive
from regrow.guard.base import Guard
from regrow.guard.step_parameters import StepParameters, lengths_of


@final
@dataclass(frozen=True, kw_only=True)
class WeightClip(Guard):
    """Keep the weights and biases of each layer within a multiple of the bounds that they were drawn in.

        w  <-  min(max(w, -bound_l), bound_l),     bound_l = multiple / sqrt(fan_in of the layer)

    Args:
        multiple: The paper's kappa, above 0; 1 to 3 there.
        skip_poison: As in `StepLimit`. Off: as published.

    Raises:
        ConfigError: A number that is not above 0.

    Edge cases:
        Parameters that are no layer's (norms, gates, embeddings) are left alone. What is within the bounds keeps its
        bits; NaN stays NaN.

    Source:
        Elsayed, Lan, Lyle, Mahmood, "Weight Clipping for Deep Continual and Reinforcement Learning", RLC 2024.
        https://arxiv.org/abs/2407.01704
    """

    multiple: float = 2.0
    skip_poison: bool = False

    def __post_init__(self) -> None:
        check_flag(self.skip_poison, name="skip_poison", where="weight clip")
        check_positive(self.multiple, name="multiple", where="weight clip")

    def limit_(self, moved: StepParameters, before: Sequence[Tensor]) -> Tensor | None:
        """By layer whether an entry was clipped."""
        del before
        mine = [part for part in moved.parts if part.group.fan_in]
        if not mine:
            return None
        largest = lengths_of([part.parameter for part in mine], norm=torch.inf)
        bounds = [self.multiple / part.group.fan_in**0.5 for part in mine]
        beyond = largest > torch.tensor(bounds, dtype=largest.dtype, device=largest.device)
        if moved.on_cpu and not bool(beyond.any()):
            return None
        for part, bound in zip(mine, bounds, strict=True):
            part.parameter.clamp_(-bound, bound)
        hit = torch.zeros(len(moved.groups), dtype=torch.int64, device=beyond.device)
        places = [
            place for part, place in zip(moved.parts, moved.place, strict=True) if part.group.fan_in
        ]
        index = torch.tensor(places, device=beyond.device)
        return hit.index_add_(0, index, beyond.to(hit.dtype)) > 0
