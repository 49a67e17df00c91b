"""Own silence: a unit's present silence beside its own past ones; the criterion of self-normalized resets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Int
from torch import Tensor

from regrow._checks import check_flag, check_fraction
from regrow._shapes import Mask, Scores
from regrow.criteria._anew import anew
from regrow.criteria._firing import SilenceCriterion, begun, check_silences, longer
from regrow.criteria.base import CriterionState
from regrow.errors import ConfigError

_WINDOW: Final = 128
"""Past silences that are remembered at least."""

_FINEST: Final = 1e-4

_BEGIN: Final = {"silence": 0, "known": -1, "past": -1}
"""Of a fresh unit; its first silence has no beginning, so that `known` is 0 when it ends."""


def silence_share(silence: Int[Tensor, "*S O"], *, past: Int[Tensor, "*S O W"]) -> Scores:
    """The share of a unit's own silences that lasted at least as long as its present one.

    What is a long silence for one unit is an everyday one for another, so each is measured by itself.

        share[o] = (1 + number of k with past[o, k] >= silence[o]) / (1 + number of k with past[o, k] >= 0)

    The present silence counts as one of them: if it comes from the same law as the others, the share is at most x in no
    more than a part x of all silences, however short the history. A unit with n past silences cannot score below
    1 / (n + 1), so that nobody is judged by next to no history.

    Args:
        silence: How long each unit has been silent, in steps, (*S, O). Read, never written.
        past: How long its past silences lasted, (*S, O, W), in any order; -1 where there are fewer of them.

    Returns:
        (*S, O) within (0, 1], in float64; low = it has never been silent for so long.

    Edge cases:
        Without any history: 1.

    Source:
        Farias, Jozefiak, "Self-Normalized Resets for Plasticity in Continual Learning", ICLR 2025, arXiv 2410.20098:
        a unit is reset when P(A >= a) <= eta, A its own inter-firing time. Differs: the estimate counts the present
        silence too, as in Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005.

    Examples:
        >>> past = torch.tensor([[0, 0, 0], [2, 9, -1]])
        >>> silence_share(torch.tensor([5, 5]), past=past)
        tensor([0.2500, 0.6667], dtype=torch.float64)
    """
    longer = (past >= silence.unsqueeze(-1)).sum(-1)
    return (1 + longer).double() / (1 + (past >= 0).sum(-1)).double()


@final
@dataclass(frozen=True, kw_only=True)
class OwnSilence(SilenceCriterion):
    """`regrow.functional.silence_share` of a unit's last silences, counted in steps.

    A unit fires in a step if it gives a value above 0 to any example, and its silence is the number of steps since. It
    scores 1 while its silence is shorter than `min_silence`, and 0 from `max_silence` on, whatever its history.

    Args:
        rejection: The share at which units are to be renewed, within [0, 1]: as many silences are remembered as it
            takes to tell it, and 128 at least.
        min_silence: Steps of silence before which nobody is judged, at least 1.
        max_silence: Steps of silence from which on a unit scores 0, also without any history.
        as_published: A value above 0 is all that counts. By default a unit that gives one value throughout a step does
            not fire, since behind a norm the silence of a dead ReLU is a constant of any size; and a step in which it
            is starved or blocked is none in which it is silent.

    Raises:
        ConfigError: A setting outside its range, or `min_silence` above `max_silence`.

    Edge cases:
        A step in which a unit is not seen counts for nothing. What happened before its first firing is no silence of
        known length, and is not remembered. A renewed unit begins without a history. A unit that cannot be silent (one
        of a sigmoid, whose values are all above 0) is judged by `as_published` never, and else by whether it is one
        value.

    Source:
        As `silence_share`. The time between firings is counted in examples there.
    """

    rejection: float = 0.01
    min_silence: int = 7
    max_silence: int = 1250
    as_published: bool = False

    def __post_init__(self) -> None:
        check_fraction(self.rejection, name="rejection", where="own silence")
        if 0 < self.rejection < _FINEST:
            raise ConfigError(
                f"rejection must be 0 or at least {_FINEST}, since 1 / rejection silences of each unit are remembered, "
                f"got {self.rejection!r} (own silence)"
            )
        check_silences(self.min_silence, self.max_silence, where="own silence")
        check_flag(self.as_published, name="as_published", where="own silence")

    @property
    def window(self) -> int:
        """How many silences of each unit are remembered."""
        # A unit with n of them cannot score below 1 / (n + 1).
        needed = math.ceil(1 / self.rejection - 1e-9) - 1 if self.rejection else 0
        return max(_WINDOW, needed)

    def counted(self, state: CriterionState, *, fire: Mask, counts: Mask) -> CriterionState:
        """By unit ``silence``, how many silences have ended (``known``), and the last of them, ``past`` (O, W)."""
        if not state:
            state = {key: begun(fire, value=_BEGIN[key]) for key in ("silence", "known")}
            state["past"] = begun(fire, self.window, value=_BEGIN["past"])
        silence, known, past = state["silence"], state["known"], state["past"]
        place = (known % self.window).unsqueeze(-1).long()
        ended = torch.where(fire & (known >= 0), silence, past.gather(-1, place).squeeze(-1))
        return {
            "silence": longer(silence, counts=counts, fire=fire),
            "known": known + fire.to(known.dtype),
            "past": past.scatter(-1, place, ended.unsqueeze(-1)),
        }

    def scores_of(self, state: CriterionState) -> Scores:
        """How unusual the present silences are."""
        silence, past = state["silence"], state["past"]
        judged = silence >= self.min_silence
        if silence.is_cpu and silence.ndim == 1:
            # Nearly all fire, and without a history the share is 1.
            who = (judged & (state["known"] > 0)).nonzero()[:, 0]
            share = torch.ones(silence.shape, dtype=torch.float64, device="cpu")
            if len(who):
                share.index_copy_(0, who, silence_share(silence[who], past=past[who]))
        else:
            share = silence_share(silence, past=past).where(judged, 1.0)
        return share.where(silence < self.max_silence, 0.0)

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: they begin without a history."""
        return anew(state, mask, _BEGIN)
