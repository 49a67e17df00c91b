"""What a study has cost in training, and what its trials would have cost one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from regrow.report.results import Results
from regrow.report.wording import count


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Epochs of single networks.

    Args:
        trained: Those that were trained; what trials have in common counts once.
        in_trials: Those of all trials. Trials of a grid that are the same trial, such as plain training where the grid
            varies another arm, count once.
        engine: What made the steps.
    """

    trained: int
    in_trials: int
    engine: str


def effort(results: Results) -> Effort | None:
    """Add a study's epochs up.

    Args:
        results: What was read.

    Returns:
        The sums; None for results from before they were counted.
    """
    if results.trained is None:
        return None
    document = cast("Mapping[str, Any]", results.study.document)
    arms: Mapping[str, Any] = document.get("arms", {})
    epochs: dict[tuple[object, ...], int] = {}
    for trial in results.trials:
        arm: Mapping[str, Any] = arms.get(trial.arm, {})
        own = {trial.arm, arm.get("like")}
        parts = (part for part in trial.cell.split(",") if _concerns(part, own, arms))
        networks = int(arm.get("settings", {}).get("partners", 1))
        epochs[(trial.arm, trial.seed, *parts)] = (trial.epochs or 0) * networks
    return Effort(trained=results.trained, in_trials=sum(epochs.values()), engine=results.engine)


def _concerns(part: str, own: set[Any], arms: Mapping[str, Any]) -> bool:
    """Whether a part of a cell's name changes an arm: what is no other arm's does."""
    label = part.removeprefix("arms.").partition(".")[0]
    return label in own or label not in arms


def told(found: Effort) -> str:
    """Say it.

    Args:
        found: The sums.

    Returns:
        One sentence.
    """
    trained = f"engine {found.engine}, {count(found.trained, 'network-epoch')} trained"
    if found.trained >= found.in_trials:
        return trained
    share = found.trained / found.in_trials
    return f"{trained} for trials of {found.in_trials} in all ({share:.2f} of one by one)"
