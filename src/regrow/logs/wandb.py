"""WandbLog: numbers of a training for Weights & Biases."""

# wandb is an extra, and not there where types are checked.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from regrow.errors import ConfigError, MissingExtraError


@final
class WandbLog:
    """Writes into a run of Weights & Biases.

    Args:
        run: What ``wandb.init`` gave; None: the run that is open when the first number comes.

    Raises:
        MissingExtraError: wandb is not installed.

    Edge cases:
        The steps of a run must not go back, and a trainer counts in its own: so the numbers are drawn over
        ``regrow/step``, whatever the run's own step is.
    """

    def __init__(self, run: Any = None) -> None:
        try:
            import wandb  # noqa: PLC0415 # asked for just now
        except ImportError as error:
            raise MissingExtraError("wandb", extra="wandb") from error
        self._open = wandb
        self._run = run
        self._defined = False

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers.

        Args:
            step: Optimizer steps made so far.
            values: Numbers by name.

        Raises:
            ConfigError: No run was given, and none is open.
        """
        run = self._open.run if self._run is None else self._run
        if run is None:
            raise ConfigError("no run is open: call wandb.init() before the training (WandbLog)")
        if not self._defined:
            run.define_metric("regrow/step")
            run.define_metric("regrow/*", step_metric="regrow/step")
            self._defined = True
        run.log({**values, "regrow/step": step})
