"""WandbLog: numbers of a training for Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from regrow.errors import ConfigError
from regrow.logs.base import needed


@final
class WandbLog:
    """Writes into a run of Weights & Biases.

    Args:
        run: What ``wandb.init`` gave; None: the run that is open when the first number comes.

    Edge cases:
        The steps of a run must not go back, and a trainer counts in its own: so the numbers are drawn over
        ``regrow/step``, whatever the run's own step is. Without wandb it is a MissingExtraError.
    """

    def __init__(self, run: Any = None) -> None:
        self._open = needed("wandb")
        self._run = run
        self._defined = False

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers: refused where no run was given, and none is open."""
        run = self._open.run if self._run is None else self._run
        if run is None:
            raise ConfigError("no run is open: call wandb.init() before the training (WandbLog)")
        if not self._defined:
            run.define_metric("regrow/step")
            run.define_metric("regrow/*", step_metric="regrow/step")
            self._defined = True
        run.log({**values, "regrow/step": step})
