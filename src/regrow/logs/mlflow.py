"""MLflowLog: numbers of a training for MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, final

from regrow.logs.base import needed


@final
class MLflowLog:
    """Writes metrics into a run of MLflow.

    Args:
        run_id: The run; None: the one that is open when the first number comes. It is opened by MLflow where there is
            none, as its own functions do.
        client: An `MlflowClient`, for a store other than the one that MLflow is set to; needs `run_id`.

    Edge cases:
        Without mlflow it is a MissingExtraError.
    """

    def __init__(self, run_id: str | None = None, *, client: Any = None) -> None:
        self._mlflow = needed("mlflow")
        self._run, self._client = run_id, client

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers."""
        # MLflow refuses names with other characters, such as those of a study's cells (train.lr=0.1).
        values = {re.sub(r"[^\w. :/-]", "_", name): value for name, value in values.items()}
        if self._client is None:
            self._mlflow.log_metrics(values, step=step, run_id=self._run)
            return
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)
