"""Networks by name: `build`, and what can be asked before anything is built."""

from regrow.lab.models.registry import build, check, defaults, names, recorded_init, summary

__all__ = ["build", "check", "defaults", "names", "recorded_init", "summary"]
