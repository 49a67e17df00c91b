"""What happens while a study runs, told to whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass

from regrow.lab.outcome import EpochRecord, TrialResult
from regrow.lab.trials import TrialSpec


@dataclass(frozen=True)
class Started:
    """A worker has taken a trial up."""

    spec: TrialSpec


@dataclass(frozen=True)
class Progressed:
    """A trial has trained one more epoch."""

    spec: TrialSpec
    record: EpochRecord


@dataclass(frozen=True)
class Ended:
    """A trial is in the store."""

    spec: TrialSpec
    result: TrialResult


@dataclass(frozen=True)
class Noticed:
    """Something that a user should know: a warning, a worker that died."""

    text: str


Event = Started | Progressed | Ended | Noticed
"""Anything that can happen."""
