"""Utility: Continual Backprop's criterion, an average over each unit's own life."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from torch import Tensor

from regrow._shapes import Mask, Scores
from regrow.criteria.base import CriterionState, LayerActivity, Observation, Signal
from regrow.criteria.random_score import RandomScore
from regrow.errors import ConfigError
from regrow.functional.utility import UtilityKind, debiased, unit_utility

_MEAN: Final = "mean."
_KINDS: Final = ("contribution", "weight", "adaptation", "random")


def _all_finite(values: Tensor | None) -> bool:
    """Whether all are, if that is seen without a wait for another device; sums that overflow are looked at in full."""
    return values is not None and values.device.type == "cpu" and math.isfinite(values.sum().item())


@final
@dataclass(frozen=True, kw_only=True)
class Utility:
    """How much a unit has been worth to its readers, on the average of the steps since it was renewed.

        u <- decay * u + (1 - decay) * utility of the step,    score = u / (1 - decay^age)

    See `regrow.functional.unit_utility` and `debiased`. What units give is read in the training's own passes, where
    they leave for their readers.

    Args:
        kind: ``contribution``: what the unit gives times the weights that read it. ``weight``: those weights alone.
            ``adaptation``: 1 / its own weights. ``random``: a draw, for a control with the same memory of means.
        decay: Of the averages, within [0, 1). 0: the last step alone.
        means: Remember what units give on the average too, for a renewal that moves it (``Redraw(transfer=True)``).

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        A step in which a unit is not seen, or in which its utility is not finite, counts for nothing: its age is the
        number of steps that count. One that was never seen scores as the best of its layer. A layer whose readers are
        not all known has no score but for ``adaptation``.

    Source:
        Dohare et al., Nature 632, 2024, Methods; the released code's ``util_type``.
    """

    kind: UtilityKind | Literal["random"] = "contribution"
    decay: float = 0.99
    means: bool = False

    every_step = True

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.kind not in _KINDS:
            raise ConfigError(
                f"kind must be 'contribution', 'weight', 'adaptation' or 'random', got {self.kind!r} (utility)"
            )
        value = self.decay
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:  # pyright: ignore[reportUnnecessaryIsInstance] # users' words
            raise ConfigError(f"decay must be within [0, 1), got {value!r} (utility)")

    @property
    def needs(self) -> frozenset[Signal]:
        """What units give, and the weights on one of their sides."""
        if self.kind == "random":
            return frozenset({Signal.MEANS})
        side = Signal.WEIGHTS if self.kind == "adaptation" else Signal.READERS
        return frozenset({Signal.MEANS, side})

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Take one step into the averages.

        Args:
            state: What is remembered so far. Not changed.
            observation: With `activity`, and `outgoing` or `weight`.

        Returns:
            ``utility`` and ``age`` by unit, and ``mean.K``, (O, P), what it gives at the places of outlet K.
        """
        activity = observation.activity
        value = None if activity is None else self._of_step(observation, activity)
        if activity is None or value is None:
            return state
        # Nearly always: every unit was seen, and all is finite. Then nothing has to be chosen entry by entry.
        all_count = activity.lively and _all_finite(value)
        # Where the sizes are finite, the sums that are at most as large are too.
        sized = all_count and (self.kind == "contribution" or _all_finite(activity.size))
        counts = None if all_count else activity.seen & value.isfinite()
        was = state.get("utility")
        was = torch.zeros_like(value) if was is None else was
        age = state.get("age")
        age = torch.zeros_like(value, dtype=torch.int64) if age is None else age
        after = {
            "utility": self._averaged(was, value, counts),
            "age": age + (1 if counts is None else counts),
        }
        for number, given in enumerate(activity.places if self.means else ()):
            if given is not None:
                key = f"{_MEAN}{number}"
                before = state.get(key)
                before = torch.zeros_like(given) if before is None else before
                there = None
                if not sized:
                    seen = activity.seen & value.isfinite() if counts is None else counts
                    there = seen[:, None] & given.isfinite()
                after[key] = self._averaged(before, given, there)
        return after

    def _of_step(self, observation: Observation, activity: LayerActivity) -> Tensor | None:
        if activity.size is None or self.kind == "random":
            return activity.size
        if self.kind == "adaptation":
            if observation.weight is None:
                return None
            incoming = observation.weight.double().abs().sum(-1)
            return unit_utility(self.kind, outgoing=incoming, size=activity.size, incoming=incoming)
        if observation.outgoing is None:
            return None
        outgoing = observation.outgoing.double()
        return unit_utility(self.kind, outgoing=outgoing, size=activity.size)

    def _averaged(self, was: Tensor, value: Tensor, counts: Tensor | None) -> Tensor:
        after = self.decay * was + (1 - self.decay) * value
        return after if counts is None else torch.where(counts, after, was)

    def is_scored(self, state: CriterionState) -> bool:
        """Whether a layer has a score: then each of its units has one, and it is a number.

        Args:
            state: What is remembered of the layer.

        Returns:
            True where something was observed.
        """
        return "utility" in state

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """The averages, corrected by each unit's own age.

        Args:
            state: What is remembered. Not changed.
            layer: For a draw, as the rest.
            count: The same.
            step: The same.
            seed: The same.

        Returns:
            The same state, and the scores, (*S, O) float64; None where nothing was observed.
        """
        if "utility" not in state:
            return state, None
        if self.kind == "random":
            return RandomScore().score(state, layer=layer, count=count, step=step, seed=seed)
        scores = debiased(state["utility"], age=state["age"], decay=self.decay)
        best = scores.nan_to_num(0.0).amax(-1, keepdim=True)
        return state, torch.where(state["age"] > 0, scores, best)

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: their averages begin anew.

        Args:
            state: What is remembered. Not changed.
            mask: (O,).

        Returns:
            What is remembered from here on.
        """
        return {
            key: torch.where(
                mask.reshape(-1, *[1] * (value.ndim - 1)), torch.zeros_like(value), value
            )
            for key, value in state.items()
        }

    def means_of(self, state: CriterionState) -> dict[int, Tensor]:
        """What units give on the average, by outlet, corrected by their ages.

        Args:
            state: What is remembered of the layer.

        Returns:
            (O, P) by the number of the outlet, P places a unit; nan where a unit was never seen.
        """
        found: dict[int, Tensor] = {}
        for key, value in state.items():
            if key.startswith(_MEAN):
                age = state["age"][:, None].expand(value.shape)
                found[int(key.removeprefix(_MEAN))] = debiased(value, age=age, decay=self.decay)
        return found
