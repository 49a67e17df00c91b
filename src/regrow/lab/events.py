"""What happens while a study runs, told to whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass

from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec


@dataclass(frozen=True)
class Started:
    """A worker has taken a run up: a trial, or several that are one so far."""

    specs: tuple[TrialSpec, ...]


@dataclass(frozen=True)
class Progressed:
    """A run has trained on."""

    specs: tuple[TrialSpec, ...]  # the trials that it is
    record: EpochRecord  # its newest epoch
    network_epochs: int  # epochs of single networks since it last said so
    samples: int  # training images of these


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
