"""Where a study ran: versions and machine, read without importing anything heavy."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version


def environment(command: Sequence[str] | None = None) -> dict[str, object]:
    """Describe this run."""
    words = list(sys.argv if command is None else command)
    return {
        "regrow": _version("regrow"),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": available_cores(),
        "command": shlex.join([os.path.basename(words[0]), *words[1:]]) if words else "",  # noqa: PTH119
        "started_at": now(),
    }


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
