"""First-order Taylor: filters whose absence changes the loss little score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._checks import check_choice
from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.layer_scaled import layer_scaled
from regrow.criteria.momentary import Momentary


def taylor(slopes: Float[Tensor, "*S N O"]) -> Scores:
    """What silencing each filter changes in the loss, to first order: the mean size over the examples.

        score[o] = sum over n of |dL_n / dg_o| / N,    dL_n / dg_o = sum over positions of x dL_n / dx  at g = 1

    Args:
        slopes: For each example the derivative of its loss by a gate that multiplies what the network hears of the
            filter, (*S, N, O).

    Returns:
        (*S, O), at least 0, in float32 or wider.

    Source:
        Molchanov et al. 2017 (as `mean_activation`), equation 8. Differs: theirs is divided by the number of positions
        too. Without it the score is a change of the loss, which is the same thing in every layer; inside a layer it is
        a constant, and `layer_scaled` takes it out.

    Examples:
        >>> taylor(torch.tensor([[1.0, 0.0], [-3.0, 1.0]]))
        tensor([2.0000, 0.5000])
    """
    wide = slopes.to(torch.promote_types(slopes.dtype, torch.float32))
    return wide.abs().mean(-2)


@final
@dataclass(frozen=True, kw_only=True)
class Taylor(Momentary):
    """`regrow.functional.taylor`, of a gate g on what the network hears.

        reference zero:  dL_n / dg = sum over positions of  h dL_n / dh           what silencing the filter costs
        reference mean:  dL_n / dg = sum over positions of (h - r) dL_n / dh      what putting its mean r there costs

    Args:
        rescale: Divide a layer's scores by their length, as Molchanov et al. do.
        reference: What a filter is exchanged for: ``zero``, or ``mean``, its mean where its readers hear it, over the
            examples that are run at once (256 at most). A renewal that moves means (``Redraw(transfer=True)``) leaves
            the mean.

    Raises:
        ConfigError: Another reference.

    Source:
        The ranking "Taylor" of Prakash et al. 2019, Section 5. ``mean``: GXD, arXiv
        2605.06834, whose abstract says gradient times distance from a reference; that this is the mean, and that sizes
        are averaged, is our reading.
    """

    rescale: bool = False
    reference: Literal["zero", "mean"] = "zero"

    def __post_init__(self) -> None:
        check_choice(self.reference, ("zero", "mean"), name="reference", where="taylor")

    @property
    def needs(self) -> frozenset[Signal]:
        """Gates that leave nothing, or the mean."""
        return frozenset({Signal.EXCHANGES if self.reference == "mean" else Signal.GATES})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The derivatives as they were measured."""
        gates = observation.exchanges if self.reference == "mean" else observation.gates
        if gates is None:
            return None
        scores = gates.slope
        return layer_scaled(scores) if self.rescale else scores
