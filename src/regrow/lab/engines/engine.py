"""What an engine does: an epoch of one network or of several, whose recipes act in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from regrow.lab.member import Member


class Engine(Protocol):
    """Trains networks, each as it would be trained alone."""

    def train_epoch(
        self, members: Sequence[Member], epochs: Sequence[int]
    ) -> list[tuple[float, float]]:
        """Train each network for one epoch.

        Args:
            members: The networks; the same as in the last call as long as they train on.

        Returns:
            Mean loss and share of right predictions of each, as they were met.
        """
        ...
