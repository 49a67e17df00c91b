"""Guarded: a guard alone, with nothing renewed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, final

from regrow._checks import check_choice
from regrow.compose import EVERY_KIND, Parts, Recipe, RecipeInfo
from regrow.recipes._no_filters import no_filters
from regrow.recipes._registry import published

if TYPE_CHECKING:
    from regrow.guard import Guard

INFO = RecipeInfo(
    name="guarded",
    title="A guard alone",
    family="guards",
    summary="Clips gradients, or shortens steps that are too long, and renews nothing: what a guard does by itself.",
)


@final
@published
class Guarded(Recipe):
    """Train with a guard and renew nothing, to see what the guard does by itself.

    Args:
        guard_by: ``step_limit``: `regrow.guard.StepLimit`; ``adaptive_clip``: `AdaptiveClip` (AGC); ``norm_clip``:
            `NormClip`; ``weight_clip``: `WeightClip`.
        amount: Their first setting (fraction, clip, max_norm, multiple), above 0; None: their default.

    Raises:
        ConfigError: Another guard, or an amount that is not above 0.

    Examples:
        >>> Guarded(guard_by="adaptive_clip").guard
        AdaptiveClip(clip=0.01, eps=0.001, heads=False, skip_poison=False)
    """

    info = INFO

    guard_by: Literal["step_limit", "adaptive_clip", "norm_clip", "weight_clip"] = "step_limit"
    amount: float | None = None

    layers = EVERY_KIND

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.guard import AdaptiveClip, NormClip, StepLimit, WeightClip

        known: dict[str, tuple[Callable[..., Guard], str]] = {
            "step_limit": (StepLimit, "fraction"),
            "adaptive_clip": (AdaptiveClip, "clip"),
            "norm_clip": (NormClip, "max_norm"),
            "weight_clip": (WeightClip, "multiple"),
        }
        check_choice(self.guard_by, tuple(known), name="guard_by", where="guarded")
        kind, first = known[self.guard_by]
        return _parts_of(kind() if self.amount is None else kind(**{first: self.amount}))


def _parts_of(guard: Guard) -> Parts:
    """The parts of a recipe that is a guard and nothing else."""
    return {**no_filters(), "guard": guard}


def guard_alone(guard: Guard) -> Recipe:
    """A recipe of a guard, for ``attach(StepLimit(), ...)``."""
    return Recipe(info=INFO, **_parts_of(guard))
