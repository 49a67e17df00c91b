"""The oracle: what the network loses when a filter is silenced, one filter after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor

from regrow._checks import check_choice
from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary

TIE = 1e-7
"""What the loss may add to a drop in accuracy, at most: less than one example in five million."""


def accuracy_drop(
    whole: Float[Tensor, "*S"], without: Scores, loss_rise: Scores
) -> Float[Tensor, "*S O"]:
    """How much accuracy is lost without each filter; the loss decides between equal ones.

        score[o] = whole - without[o] + 1e-7 r / (1 + |r|),    r = loss without o - loss of the whole

    On a thousand images many filters cost the same number of them. The order of the layers would decide then, and
    always for the same layer.

    Args:
        whole: Accuracy of the whole network, (*S,), within [0, 1].
        without: Accuracy without each filter, (*S, O).
        loss_rise: How much the loss rises without it, (*S, O).

    Returns:
        (*S, O), in float64. Negative where the network is better off without the filter.

    Edge cases:
        A loss that is not a number decides nothing, and infinity is the most.

    Examples:
        >>> import torch
        >>> drop = accuracy_drop(torch.tensor(0.75), torch.tensor([0.5, 0.75, 0.75]), torch.tensor([0.9, 0.1, 0.2]))
        >>> drop.argsort().tolist()
        [1, 2, 0]
    """
    rise = loss_rise.double().nan_to_num(nan=0.0)
    tie = 1 - 1 / (1 + rise.abs())  # in this form infinity is 1, not infinity / infinity
    return whole.double().unsqueeze(-1) - without.double() + TIE * tie * rise.sign()


@final
@dataclass(frozen=True, kw_only=True)
class Oracle(Momentary):
    """The drop in accuracy, or the rise of the loss, when a filter is silenced.

    Greedy: each filter is silenced alone, in the network as it is. Filters that carry the same thing all score low,
    and leaving them all out costs more than the sum of their scores.

    Args:
        measure: ``accuracy``, as the paper has it; filters that cost the same number of examples are put in order by
            the loss (`regrow.functional.accuracy_drop`). ``loss``.

    Raises:
        ConfigError: Another measure.

    Source:
        The ranking "Oracle" of Prakash et al. 2019, Section 5; Molchanov et al. 2017, Section 2.1, for the loss.
        Differs: the paper says nothing of equal drops.
    """

    measure: Literal["accuracy", "loss"] = "accuracy"

    def __post_init__(self) -> None:
        check_choice(self.measure, ("accuracy", "loss"), name="measure", where="oracle")

    @property
    def needs(self) -> frozenset[Signal]:
        """What it looks at; the loss always, which decides between equal drops."""
        if self.measure == "loss":
            return frozenset({Signal.SILENCED_LOSS})
        return frozenset({Signal.SILENCED_ACCURACY, Signal.SILENCED_LOSS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The differences between the whole network and the one without the filter."""
        loss, accuracy = observation.silenced_loss, observation.silenced_accuracy
        if loss is None:
            return None
        # Also for the accuracy: among 500 examples most filters cost none, and the order of equal drops would be that
        # of their indices.
        rise = loss.without - loss.whole.unsqueeze(-1)
        if self.measure == "loss":
            return rise
        return None if accuracy is None else accuracy_drop(accuracy.whole, accuracy.without, rise)
