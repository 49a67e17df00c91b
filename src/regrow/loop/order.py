"""Several optimizers must step in the order in which they are listed: the last one ends a step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from regrow.loop.optimizers import OptimizerWatch, Steps
from regrow.loop.warner import Warner


class StepOrder:
    """Hands the steps of several optimizers on, and warns of another order in the first step."""

    def __init__(self, listener: Steps, watches: Sequence[OptimizerWatch], warner: Warner) -> None:
        self._listener = listener  # who is called around each step
        self._watches = watches  # the optimizers, in the order in which they are listed
        self._warner = warner  # tells the user
        self._stepped: set[int] = set()
        self._ended = False  # the first step

    def gradients_ready(self, watch: OptimizerWatch) -> None:
        """The step is about to be made: it is not the second one of an optimizer before the last one's first."""
        if id(watch) in self._stepped and id(self._watches[-1]) not in self._stepped:
            self._warn()
        self._stepped.add(id(watch))
        self._listener.gradients_ready(watch)

    def step_made(self, watch: OptimizerWatch) -> None:
        """The step has been made: all others were, if it is the last one's."""
        if watch is self._watches[-1] and not watch.skips():
            self._warn()
            self._ended = True
        self._listener.step_made(watch)

    def tell(self, *, loss: Tensor | float) -> None:
        """A closure has given the loss."""
        self._listener.tell(loss=loss)

    def _warn(self) -> None:
        if not self._ended and len(self._stepped) < len(self._watches):
            self._warner.order()
