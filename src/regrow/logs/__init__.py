"""Logs: where the numbers of a training go. ``regrow.attach(..., log=regrow.logs.CSVLog("log.csv"))``.

One file a log; nothing of a log is imported before somebody asks for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from regrow.logs.base import Log, SafeLog

if TYPE_CHECKING:
    from regrow.logs.csv import CSVLog
    from regrow.logs.mlflow import MLflowLog
    from regrow.logs.tensorboard import TensorBoardLog
    from regrow.logs.wandb import WandbLog

_HOMES = {
    "CSVLog": "csv",
    "MLflowLog": "mlflow",
    "TensorBoardLog": "tensorboard",
    "WandbLog": "wandb",
}

__all__ = ["CSVLog", "Log", "MLflowLog", "SafeLog", "TensorBoardLog", "WandbLog"]


def __getattr__(name: str) -> object:
    """Import a log when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regrow.logs' has no attribute '{name}'")
    return getattr(importlib.import_module(f"regrow.logs.{_HOMES[name]}"), name)
