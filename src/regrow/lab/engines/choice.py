"""Which engine a study runs in."""

from __future__ import annotations

import re
from typing import Final

import torch
from torch import nn

from regrow.engine import UnsupportedError, program_of
from regrow.errors import ConfigError
from regrow.lab.engines.modules import ModuleEngine
from regrow.lab.engines.stack import StackEngine
from regrow.study.document import EngineName
from regrow.study.trials import TrialSpec

ENGINES: Final = ("modules", "stack")
"""``modules``: torch as a user would write it, for any network. ``stack``: `regrow.engine`, for small chains."""


def refusal(spec: TrialSpec, model: nn.Module) -> str:
    """Why a trial cannot run in a stack."""
    reasons = {
        f"it trains {spec.partners} networks side by side": spec.partners > 1,
        "it has teachers": bool(spec.teachers),
        "train.overlap_penalty is added to the loss": bool(spec.train.overlap_penalty),
        "train.channels_last asks for a layout of its own": spec.train.channels_last,
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    try:
        program_of(model)
    except UnsupportedError as error:
        return str(error)
    return ""


Engine = ModuleEngine | StackEngine
"""Trains networks, each as it would be trained alone; for it to keep its memory, they are those of its last call."""


def engine_named(name: EngineName) -> Engine:
    """Make a fresh engine: it may keep memory of the networks that it trains."""
    return StackEngine() if name == "stack" else ModuleEngine()


def check_device(device: str) -> None:
    """Refuse a device on which nothing can be trained."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ConfigError(f"--device: must be cpu, cuda or cuda:N, got {device}")
    if device == "cpu":
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2] or 0) >= count:
        raise ConfigError(
            f"--device {device}: torch {torch.__version__} sees {count} GPUs here; --device cpu trains without"
        )


def choose(
    asked: str, *, refusal: str, begun: EngineName | None, device: str = "cpu"
) -> EngineName:
    """The engine of a study: one for all its trials, so that arms that are compared round alike.

    A study that was begun goes on in the engine of its results; what `refusal` says cannot run in a stack.
    """
    if asked not in {"auto", *ENGINES}:
        raise ConfigError(f"--engine: must be auto, {' or '.join(ENGINES)}, got {asked}")
    if device != "cpu" and (refusal or asked == "modules"):
        told = refusal or "--engine modules"
        raise ConfigError(f"--device {device}: networks are trained there in stacks alone ({told})")
    if asked == "modules":
        return "modules"
    if asked == "stack" and refusal:
        raise ConfigError(f"--engine stack: the study cannot run in a stack ({refusal})")
    if asked == "auto" and begun is not None:
        return begun
    return "modules" if refusal else "stack"
