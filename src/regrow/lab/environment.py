"""Where a study ran: versions and machine, read without importing anything heavy."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version


def environment() -> dict[str, object]:
    """Describe this run."""
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:]] if sys.argv else []  # noqa: PTH119
    return {
        **versions(),
        "platform": platform.platform(),
        "cores": available_cores(),
        "command": shlex.join(words),
        "started_at": now(),
    }


def versions() -> dict[str, str]:
    """What must be the same everywhere where a study runs."""
    packages = {package: _version(package) for package in ("regrow", "torch", "numpy")}
    return {**packages, "python": platform.python_version()}


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
