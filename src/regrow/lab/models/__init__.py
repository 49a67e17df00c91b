"""Networks by name: `build`, and what can be asked before anything is built."""

from regrow.lab.models.registry import (
    build,
    check,
    defaults,
    distinguishing,
    names,
    recorded_init,
    starts_from_data,
    summary,
)

__all__ = [
    "build",
    "check",
    "defaults",
    "distinguishing",
    "names",
    "recorded_init",
    "starts_from_data",
    "summary",
]
