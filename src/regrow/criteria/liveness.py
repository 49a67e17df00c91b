"""Liveness: whether a filter says anything to those who read it, watched over a window of training steps.

The criterion of `RandomOut`. `compose.py` asks it at each step whether there is anything to do (`idle`), tells it what
passes have shown (`observe`), and takes its scores when a window has ended (`ripe`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch import Tensor

from regrow._checks import check_not_negative, check_whole
from regrow._shapes import Mask, Scores
from regrow.criteria.base import CriterionState, KeepReason, Observation, Signal
from regrow.criteria.gradient_size import GradientSize
from regrow.criteria.silence_window import counted, pruned, whole

_OF_GRADIENT: Final = "gradient."
_SIZES: Final = f"{_OF_GRADIENT}scores"
_QUIET: Final = frozenset({_SIZES})


@final
@dataclass(frozen=True, kw_only=True)
class Liveness:
    """0 for a dead filter, 1 for every other one.

    A gradient of 0 does not mean that a filter is dead: behind a scale that starts at 0, in a step that leaves its
    block out, under a loss that is satisfied, nothing comes back to a whole layer, and everybody in it is well. So a
    small gradient is the reason to look, and silence is what is looked for.

        silent in a pass:  all values that the filter gives its readers there are equal (`regrow.functional.silent`)
        dead:              silent in all passes of the window, and neither starved nor blocked
        starved:           what it hears did not change in the window
        blocked:           a factor of exactly 0 stands between it and its readers, and is frozen or had a gradient

    A layer is watched from the step after one in which a filter's gradient is below `threshold`, for `steps` steps at
    least, and also in one window in each `look_every` steps. Then the watch of a layer ends as soon as each of its
    filters has given two different values, or has been judged.

    Args:
        gradient: How the size of a gradient is taken.
        threshold: Below it a filter is suspected, in the unit of that size.
        look_every: Steps from one look at every layer to the next, at least 1.
        steps: Length of the window in optimizer steps, at least 1.
        examples: And in examples that were seen in them, at least 1.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        A step in which a layer is not run counts for nothing, and so does one without training (evaluation mode, no
        gradients). Starved and blocked filters are left alone (`kept`) until they give a signal. So is one that was
        renewed three times without a signal or a gradient in between, until one of a neighbouring layer comes to life;
        but not in a layer in which nobody lives, for then the network is cut and there is nothing else to try.

    Source:
        Ours. RandomOut (Cohen, Lo, Ding 2016, Section 2) takes the gradient for the fact.

    Examples:
        >>> from regrow.criteria import LayerActivity
        >>> silent, no = torch.tensor([False, True]), torch.zeros(2, dtype=torch.bool)
        >>> seen = LayerActivity(seen=~no, silent=silent, starved=no, blocked=no, examples=64)
        >>> criterion, state = Liveness(threshold=1e-8), {}
        >>> for _ in range(5):
        ...     state = criterion.observe(state, Observation(count=2, activity=seen))
        >>> criterion.score(state, layer="conv", count=2, step=4, seed=0)[1]
        tensor([1., 0.])
    """

    gradient: GradientSize = field(default_factory=GradientSize)
    threshold: float
    look_every: int = 100
    steps: int = 5
    examples: int = 300

    def __post_init__(self) -> None:
        check_not_negative(self.threshold, name="threshold", where="liveness")
        for name in ("look_every", "steps", "examples"):
            check_whole(getattr(self, name), name=name, where="liveness", least=1)

    needs = frozenset({Signal.GRADIENTS, Signal.ACTIVITY})

    @property
    def every_step(self) -> bool:
        """Only a sum of gradients needs every step; what passes show comes when it is there."""
        return self.gradient.every_step

    # ---- what is observed

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Remember the gradient, and count silent steps on, by filter; nothing where nobody is suspected."""
        size, own = _parted(state)
        size = self.gradient.observe(size, observation)
        activity = observation.activity
        if activity is not None:
            own = counted(own, activity, steps=self.steps, examples=self.examples)
        elif own:
            own = pruned({**own, "now": torch.zeros_like(own["now"])})
        return _joined(size, own)

    # ---- what is concluded

    def idle(self, states: Mapping[str, CriterionState]) -> bool:
        """Whether no layer has anything to suspect or to remember, as in nearly every step.

        All layers are asked at once: on a device that is one wait and not one a layer.
        """
        sizes: list[Tensor] = []
        for state in states.values():
            if not state.keys() <= _QUIET:
                return False
            if _SIZES in state:
                sizes.append(state[_SIZES].flatten())
        if not sizes:
            return True
        # `aminmax` gives nan where any size is nan, and nan passes neither comparison below: then nobody is idle.
        least, most = torch.stack(
            torch.cat([each.to(sizes[0].device) for each in sizes]).aminmax()
        ).tolist()
        return least >= self.threshold and most < math.inf

    def suspect(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, int]:
        """A small gradient starts the watch of the layer; one that is not finite is counted."""
        size, own = _parted(state)
        size, sizes = self.gradient.score(size, layer=layer, count=count, step=step, seed=seed)
        if sizes is None:
            return _joined(size, own), 0
        strange = int((~sizes.isfinite()).sum())
        low = (sizes < self.threshold) & sizes.isfinite()
        if not own and not bool(low.any()):
            return _joined(size, {}), strange
        was = whole(own, low)
        # A gradient counts too: a fresh filter that learns was not renewed in vain, whatever it gives yet.
        lives = ~low & sizes.isfinite() & (was["vain"] > 0)
        gave_up = was["kept"] == KeepReason.GIVEN_UP.value
        after = {
            **was,
            "watch": torch.where((low & (was["kept"] == 0)).any(), self.steps, was["watch"]),
            "vain": torch.where(lives, 0, was["vain"]).to(torch.int8),
            "kept": torch.where(lives & gave_up, 0, was["kept"]).to(torch.int8),
            "stirred": was["stirred"] | lives,
        }
        return _joined(size, pruned(after)), strange

    def watches(self, state: CriterionState, *, step: int) -> bool:
        """Whether a layer's passes are to be read in a step."""
        if step % self.look_every == 0:
            return True
        _, own = _parted(state)
        return bool(own) and bool(((own["watch"] > 0) | (own["steps"] > 0)).any())

    def ripe(self, state: CriterionState) -> bool:
        """Whether a window has just ended with somebody dead in it."""
        _, own = _parted(state)
        return bool(own) and bool(own["now"].any())

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """0 for who is dead now, 1 for everybody else; None where nothing is remembered of the layer."""
        del layer, count, step, seed
        size, own = _parted(state)
        if own:
            return state, (~own["now"]).float()
        # The first tensor that is remembered tells how many filters there are.
        for key, value in size.items():  # of whom only the gradient is known, nobody is dead
            shape = value.shape if key == "scores" else value.shape[:-1]
            return state, torch.ones(shape, dtype=torch.float32, device=value.device)
        return state, None

    # ---- what has happened since

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Filters were renewed: their windows begin anew, and the renewal is in vain until they give a sign of life."""
        size, own = _parted(state)
        was = whole(own, mask)
        after = {key: value.masked_fill(mask, 0) for key, value in was.items()}
        after["vain"] = torch.where(mask, was["vain"] + 1, was["vain"])
        return _joined(size, after)

    def stirred(self, state: CriterionState) -> tuple[CriterionState, bool]:
        """Whether a filter that had been renewed has come to life since this was last asked."""
        size, own = _parted(state)
        if not own or not bool(own["stirred"].any()):
            return state, False
        quiet = {**own, "stirred": torch.zeros_like(own["stirred"])}
        return _joined(size, pruned(quiet)), True

    def encouraged(self, state: CriterionState) -> CriterionState:
        """A neighbouring layer has come to life: what was given up or starved is looked at again."""
        size, own = _parted(state)
        if not own:
            return state
        gave_up = own["kept"] == KeepReason.GIVEN_UP.value
        starved = own["kept"] == KeepReason.STARVED.value
        after = {
            **own,
            "vain": torch.zeros_like(own["vain"]),
            "kept": torch.where(gave_up, 0, own["kept"]).to(torch.int8),
            "watch": torch.where(starved.any(), self.steps, own["watch"]),
        }
        return _joined(size, pruned(after))

    def kept(self, state: CriterionState) -> dict[KeepReason, tuple[int, ...]]:
        """Silent filters that are left alone."""
        _, own = _parted(state)
        if not own:
            return {}
        found = {
            code: tuple((own["kept"] == code.value).nonzero()[:, 0].tolist()) for code in KeepReason
        }
        return {code: filters for code, filters in found.items() if filters}


def _parted(state: CriterionState) -> tuple[CriterionState, CriterionState]:
    """What the gradient's criterion remembers, and the rest."""
    size = {
        key.removeprefix(_OF_GRADIENT): value
        for key, value in state.items()
        if key.startswith(_OF_GRADIENT)
    }
    own = {key: value for key, value in state.items() if not key.startswith(_OF_GRADIENT)}
    return size, own


def _joined(size: CriterionState, own: CriterionState) -> CriterionState:
    return {**{f"{_OF_GRADIENT}{key}": value for key, value in size.items()}, **own}
