"""What a stack has answered, kept by the losses step by step, and judged for many steps at once when an epoch ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor


def judged(
    logits: Tensor, log_shares: Tensor, labels: Tensor, *, scale: Tensor, lowest: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss and right answers from logits and log shares (..., K, B) and labels (..., B)."""
    losses = log_shares.gather(-2, labels.unsqueeze(-2)).sum((-2, -1)).mul_(scale)
    # The first of equal ones, as argmax has it, which takes twice as long. The log shares of a sample are all
    # finite if its logits are; NaN is not above anything.
    right = (logits.max(-2).indices == labels) & (log_shares.amin(-2) > lowest)
    return losses, right.sum(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What all networks have answered in a step; `scale` and `weight` are those of its losses."""

    logits: Tensor
    log_shares: Tensor
    labels: Tensor
    scale: Tensor
    weight: int


@final
class Answers:
    """What a stack has answered in many steps: sums of its losses and right answers, with the bits of each step's own.

    To judge the answers of a small network takes as many calls as a layer, and nobody asks before the end of an epoch.
    So they are kept, and those of several steps are judged at once.
    """

    def __init__(self, networks: int, *, device: torch.device) -> None:
        self._losses = torch.zeros(networks, dtype=torch.float64, device=device)
        self._right = torch.zeros(networks, dtype=torch.int64, device=device)
        self._kept: list[Step] = []
        self._known = self._losses

    def add(self, step: Step) -> None:
        """Keep a step's answers."""
        kept = self._kept
        if kept and (len(kept) == _TOGETHER or kept[0].logits.shape != step.logits.shape):
            self._judge()
        self._kept.append(step)

    def count(self, losses: Tensor, right: Tensor, *, weight: int) -> None:
        """Add a step's losses and right answers, (N,) each, which are known already."""
        self.sums()
        self._losses = self._losses + losses.to(torch.float64) * weight
        self._right += right
        self._known = losses

    def newest(self) -> Tensor:
        """The losses of the newest step, (N,)."""
        return _judged(self._kept[-1:])[0][0] if self._kept else self._known

    def sums(self) -> tuple[Tensor, Tensor]:
        """Sum of the losses, weighed by their samples, in float64, and number of right answers, (N,) each."""
        if self._kept:
            self._judge()
        return self._losses, self._right

    def _judge(self) -> None:
        losses, right = _judged(self._kept)
        self._known = losses[-1]
        weighed = losses.to(torch.float64) * self._kept[0].weight
        # Added up one after the other, as sums of single steps round.
        self._losses = torch.cat([self._losses[None], weighed]).cumsum(0)[-1]
        self._right += right.sum(0)
        self._kept.clear()


_TOGETHER: Final = 16
"""Steps that are judged at once: few enough to stay in the cache."""


def _judged(steps: Sequence[Step]) -> tuple[Tensor, Tensor]:
    """Loss and right answers of steps of one kind, (S, N) each."""
    first = steps[0]
    logits = torch.stack([step.logits for step in steps])
    return judged(
        logits,
        torch.stack([step.log_shares for step in steps]),
        torch.stack([step.labels for step in steps]),
        scale=first.scale,
        lowest=logits.new_full((), -torch.inf),
    )
