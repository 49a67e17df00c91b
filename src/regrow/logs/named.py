"""A log by its name, as the command line takes it."""

from __future__ import annotations

from typing import Any

from regrow import logs
from regrow._named import FORM, imported, names_function
from regrow.errors import ConfigError
from regrow.logs.base import Log, Written, needed

KINDS = f"csv:FILE, tensorboard:FOLDER, wandb:PROJECT, mlflow:EXPERIMENT or {FORM}"
"""How a log is named."""


def log_named(name: str) -> Log | Written:
    """The log that a text names.

    Args:
        name: ``csv:FILE``; ``tensorboard:FOLDER``; ``wandb:PROJECT`` and ``mlflow:EXPERIMENT``, which open a run; or
            ``package.module:function``, a function of a step and of numbers by name.

    Returns:
        The log. The first two make their file or folder at the first number.

    Raises:
        ConfigError: It is none of these, or the function cannot be imported. What is not installed is said by the log
            itself, as a MissingExtraError.

    Examples:
        >>> log_named("csv:metrics.csv").path.name
        'metrics.csv'
    """
    kind, _, rest = name.partition(":")
    # Each by its package, which imports a log only where it is asked for.
    if rest and kind == "csv":
        return logs.CSVLog(rest)
    if rest and kind == "tensorboard":
        return logs.TensorBoardLog(rest)
    if rest and kind == "wandb":
        wandb = needed("wandb")
        return logs.WandbLog(None if wandb.run is not None else wandb.init(project=rest))
    if rest and kind == "mlflow":
        mlflow = needed("mlflow")
        mlflow.set_experiment(rest)
        return logs.MLflowLog(mlflow.start_run().info.run_id)
    if names_function(name):
        function: Any = imported(name, kind="log")
        return function
    raise ConfigError(f"a log must be {KINDS}, got '{name}'")
