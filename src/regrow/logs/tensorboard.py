"""TensorBoardLog: numbers of a training for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, final

from regrow.logs.base import needed


@final
class TensorBoardLog:
    """Writes scalars with `torch.utils.tensorboard`.

    Args:
        to: A folder, or a `SummaryWriter` that the training has already, such as a trainer's.

    Edge cases:
        A writer of its own is made at the first number, so that the log can be copied and pickled until then. Without
        tensorboard it is a MissingExtraError.
    """

    def __init__(self, to: str | PathLike[str] | Any) -> None:
        self._make = needed("tensorboard", within="torch.utils.tensorboard").SummaryWriter
        self._folder = str(to) if isinstance(to, str | PathLike) else None
        self._writer: Any = None if self._folder is not None else to

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers."""
        if self._writer is None:
            self._writer = self._make(self._folder)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()
