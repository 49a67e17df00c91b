"""Which engine a study runs in."""

from __future__ import annotations

from typing import Final, Literal

from torch import nn

from regrow.engine import UnsupportedError, program_of
from regrow.errors import ConfigError
from regrow.lab.trials import TrialSpec

EngineName = Literal["modules", "stack"]

ENGINES: Final = ("modules", "stack")
"""``modules``: torch as a user would write it, for any network. ``stack``: `regrow.engine`, for small chains."""


def refusal(spec: TrialSpec, model: nn.Module) -> str:
    """Why a trial cannot run in a stack.

    Args:
        spec: The trial.
        model: Its network, fresh.

    Returns:
        The reason; empty where it can.
    """
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


def choose(asked: str, *, refusal: str, begun: EngineName | None) -> EngineName:
    """The engine of a study: one for all its trials, so that arms that are compared round alike.

    Args:
        asked: ``auto``, ``modules`` or ``stack``.
        refusal: Why the study cannot run in a stack; empty where it can.
        begun: The engine of the results that are there; None where there are none.

    Returns:
        The engine.

    Raises:
        ConfigError: Another word, or ``stack`` for a study that cannot.

    Examples:
        >>> choose("auto", refusal="", begun=None)
        'stack'
        >>> choose("auto", refusal="", begun="modules")
        'modules'
    """
    if asked not in {"auto", *ENGINES}:
        raise ConfigError(f"--engine: must be auto, {' or '.join(ENGINES)}, got {asked}")
    if asked == "modules":
        return "modules"
    if asked == "stack" and refusal:
        raise ConfigError(f"--engine stack: the study cannot run in a stack ({refusal})")
    if asked == "auto" and begun is not None:
        return begun
    return "modules" if refusal else "stack"
