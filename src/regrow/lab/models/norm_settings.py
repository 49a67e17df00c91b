"""What can be set for the norm of a network; free of torch, as `regrow.lab.models.settings`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from regrow.errors import ConfigError
from regrow.lab.settings import check_choice

NORMS: Final = ("none", "batch", "group", "instance", "gain_control")
RESIDUAL_NORMS: Final = ("batch", "group", "gain_control")
LEARNT: Final = ("all", "gain", "bias")

GROUPS: Final = 8
"""Groups of a group norm, where that divides the width."""

LATER: Final[dict[str, object]] = {
    "gain_control_learn": "all",
    "mean_scale": 1.0,
    "start_gain": False,
}
"""Settings that came after the first results, and the values with which a network is what it was before."""


@dataclass(frozen=True, kw_only=True)
class GainControlSettings:
    """How a network's gain control is set; the defaults where its norm is another one.

    Attributes:
        gain_control_learn: What gain control learns: ``all``: mean scale k, gain g and bias b; ``gain``: g and b;
            ``bias``: b alone.
        mean_scale: k at the start, or for good.
        start_gain: Whether one batch of training images sets g before the first step, so that every map starts with
            unit standard deviation; see `regrow.nn.set_start_gain_`. The laboratory does it, not `build`.
    """

    gain_control_learn: str = "all"
    mean_scale: float = 1.0
    start_gain: bool = False

    def check(self, norm: str, *, norms: tuple[str, ...]) -> None:
        """Refuse what is out of range, and settings of gain control where there is none.

        Args:
            norm: The network's norm.
            norms: Those that it may have.

        Raises:
            ConfigError: See above.
        """
        check_choice(norm, norms, name="norm")
        check_choice(self.gain_control_learn, LEARNT, name="gain_control_learn")
        if not math.isfinite(self.mean_scale):
            raise ConfigError(f"mean_scale must be a finite number, got {self.mean_scale}")
        for name, default in LATER.items():
            if norm != "gain_control" and getattr(self, name) != default:
                raise ConfigError(f"{name} needs norm 'gain_control', got norm '{norm}'")


def groups_of(channels: int) -> int:
    """The number of groups of a group norm: 8 where that divides the width, else the largest divisor below.

    Args:
        channels: The width.

    Returns:
        The number.

    Examples:
        >>> [groups_of(width) for width in (32, 20, 7, 13)]
        [8, 5, 7, 1]
    """
    return next(groups for groups in range(GROUPS, 0, -1) if channels % groups == 0)
