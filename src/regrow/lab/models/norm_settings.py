"""What can be set for the norm of a network; free of torch, as `regrow.lab.models.settings`."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import model_validator

from regrow.lab.settings import Settings

Norm = Literal["none", "batch", "group", "instance", "gain_control"]
ResidualNorm = Literal["batch", "group", "gain_control"]

GROUPS: Final = 8
"""Groups of a group norm, where that divides the width."""

LATER: Final[dict[str, object]] = {
    "gain_control_learn": "all",
    "mean_scale": 1.0,
    "start_gain": False,
}
"""Settings that came after the first results, and the values with which a network is what it was before."""


class GainControlSettings(Settings):
    """How a network's gain control is set; the defaults where its norm is another one.

    Attributes:
        gain_control_learn: What gain control learns: ``all``: mean scale k, gain g and bias b; ``gain``: g and b;
            ``bias``: b alone.
        mean_scale: k at the start, or for good.
        start_gain: Whether one batch of training images sets g before the first step, so that every map starts with
            unit standard deviation; see `regrow.nn.set_start_gain_`. The laboratory does it, not `build`.
    """

    gain_control_learn: Literal["all", "gain", "bias"] = "all"
    mean_scale: float = 1.0
    start_gain: bool = False

    @model_validator(mode="after")
    def _belongs_to_gain_control(self) -> Self:
        norm = dict(self).get(
            "norm"
        )  # every network declares its own, with the norms that it may have
        for name, default in LATER.items():
            if norm != "gain_control" and getattr(self, name) != default:
                raise ValueError(f"{name} needs norm 'gain_control', got norm '{norm}'")
        return self


def groups_of(channels: int) -> int:
    """The number of groups of a group norm: 8 where that divides the width, else the largest divisor below.

    Examples:
        >>> [groups_of(width) for width in (32, 20, 7, 13)]
        [8, 5, 7, 1]
    """
    return next(groups for groups in range(GROUPS, 0, -1) if channels % groups == 0)
