"""Log: where numbers of a training go, and that one which fails stops nothing."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from regrow.errors import ConfigError, MissingExtraError, RegrowWarning


@runtime_checkable
class Log(Protocol):
    """What `regrow.attach` and the callbacks take as ``log=``: one method, for logs of your own too.

    Examples:
        >>> class Printed:
        ...     def write(self, step, values):
        ...         print(step, dict(values))
        >>> isinstance(Printed(), Log)
        True
    """

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take some numbers.

        Args:
            step: Optimizer steps made so far.
            values: Numbers by name, such as ``regrow/renewed``.
        """
        ...


Written = Callable[[int, Mapping[str, float]], object]
"""A function in the place of a `Log`."""


class SafeLog:
    """A log that is left out once it has failed: one warning, and the training goes on.

    A full disk, a run that was closed, a service that does not answer are not worth a training.

    Args:
        log: A `Log`, or a function that takes a step and numbers by name.

    Raises:
        ConfigError: It is neither.

    Examples:
        >>> log = SafeLog(lambda step, values: print(step, values["loss"]))
        >>> log.write(3, {"loss": 0.5})
        3 0.5
    """

    def __init__(self, log: Log | Written) -> None:
        write = getattr(log, "write", log)
        # A file has a `write` too, and takes text.
        if isinstance(log, type) or not callable(write) or hasattr(log, "writelines"):
            raise ConfigError(
                "log must be one of regrow.logs, an object with write(step, values), or a function of these two, got "
                f"{log!r}"
            )
        self._log, self._write = log, write
        self.failed = False

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Hand the numbers on, unless the log has failed before."""
        if self.failed:
            return
        try:
            self._write(step, values)
        except Exception as error:  # whatever it is, it is not worth the training
            self.failed = True
            warnings.warn(
                f"{_name(self._log)} has failed at step {step} and is left out from here on, the training goes on: "
                f"{type(error).__name__}: {error} (warned once)",
                RegrowWarning,
                stacklevel=2,
            )


def needed(package: str, *, within: str = "") -> Any:
    """What a log writes with: a package of an extra of the same name, or what is `within` and needs it."""
    try:
        return importlib.import_module(within or package)
    except ImportError as error:
        raise MissingExtraError(package, extra=package) from error


def _name(log: object) -> str:
    return f"log {getattr(log, '__name__', type(log).__name__)}"
