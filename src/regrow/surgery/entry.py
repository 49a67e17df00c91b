"""One tensor with young entries: who they are, and where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor, nn

from regrow.surgery.blocks import Grid, grid_of
from regrow.surgery.saved_births import saved
from regrow.surgery.young import Births, Places, places, without

_LOOK_AGAIN: Final = 64
"""Reading the ages makes a GPU wait, so there it is done now and then only."""


@dataclass(kw_only=True)
class Entry:
    """A tensor with young entries.

    Attributes:
        name: By which messages call it.
        parameter: The tensor.
        births: In it.
        seen: Its count of updates when it was last looked at.
        waited: The number of updates looked at since the last renewal.
        count: The surgeon's own count of its updates, for optimizers that have none.
    """

    name: str
    parameter: nn.Parameter
    births: Births
    seen: Tensor
    waited: int = 0
    count: Tensor | None = None

    @cached_property
    def young(self) -> tuple[Places, Tensor]:
        """Where the young entries are, and the numbers of their births."""
        return places(self.births)

    @cached_property
    def grid(self) -> Grid | None:
        """How they can be worked on in blocks; None: not."""
        return grid_of(self.births, self.parameter)

    @cached_property
    def _eldest(self) -> float:
        return float(self.births.counts[1])

    def moved(self, step: Tensor) -> bool | Tensor:
        """Whether the tensor was stepped since it was last looked at.

        Args:
            step: Its count of updates.

        Returns:
            Without axes; a tensor where the count is on a GPU, for nobody waits for that.
        """
        if step.device.type != "cpu":
            return step != self.seen.to(step.device)
        return step.item() != self.seen.item()

    def aged(self, step: Tensor) -> None:
        """An update has been looked at.

        Args:
            step: The tensor's count of updates, that one included.
        """
        self.seen = step.detach().clone()
        self.waited += 1

    def shed(self, step: Tensor, *, horizon: int | None, by: int = 0) -> bool:
        """Leave out who has grown up, if it is time to look.

        Args:
            step: The tensor's count of updates. Whose age has reached the horizon by now has grown up.
            horizon: The age of growing up; None: never.
            by: Whose age has passed it by so many updates, instead.

        Returns:
            Whether anybody is left.
        """
        if horizon is None:
            return True
        if step.device.type == self.births.counts.device.type == "cpu":
            if step.item() - self._eldest < horizon + by:
                return True
        elif self.waited < horizon or (self.waited - horizon) % _LOOK_AGAIN:
            return True
        left = without(self.births, older=step, horizon=horizon + by)
        if left is None:
            return False
        self.births = left
        for key in ("young", "grid", "_eldest"):
            self.__dict__.pop(key, None)
        return True

    def memory(self) -> dict[str, Tensor]:
        """What is saved of it: tensors by name, not to be written into."""
        memory = {
            **saved(self.births),
            "seen": self.seen,
            "waited": torch.tensor(self.waited, dtype=torch.int64, device="cpu"),
        }
        return memory if self.count is None else {**memory, "count": self.count}
