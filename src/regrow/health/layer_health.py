"""LayerHealth: what was measured of one layer, in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from regrow.errors import ConfigError
from regrow.health.measures import OF_UNITS

STATES: Final = (
    *("not_finite", "norm_killed", "blocked", "starved", "dead", "rare", "saturated"),
    *("duplicate", "invalid", "zero_by_construction", "dormant", "alike", "low_gradient"),
)
"""The worst first: a unit in several of them is shown in the first."""

assert set(STATES) == set(OF_UNITS)  # noqa: S101 # a measure without a place here would be shown nowhere


def plain(number: float | None) -> float | str | None:
    """JSON knows no nan."""
    return number if number is None or math.isfinite(number) else str(number)


@dataclass(frozen=True, kw_only=True)
class LayerHealth:
    """What was measured of one layer.

    Attributes:
        path: Its module path.
        kind: ``conv``, ``conv_transpose`` or ``linear``.
        count: Its units.
        is_head: They are the model's output.
        units: By measure, the units that it names, as numbers from 0. A measure that could not be taken is not there.
        numbers: By measure, a number. A measure that could not be taken is not there.
        settled: Why the size of what it gives is not its own affair (a norm, a sum or a product follows); "" where it
            is.
        normed: A norm follows it at once: whatever it gives is scaled.
        why_not: Why what its units give was not judged; "" where it was.
    """

    path: str
    kind: str
    count: int
    is_head: bool = False
    units: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    settled: str = ""
    normed: bool = False
    why_not: str = ""

    def share(self, key: str) -> float | None:
        """The share of its units that a measure names.

        Args:
            key: Of a measure of units.

        Returns:
            Within [0, 1]; None where it was not taken.
        """
        found = self.units.get(key)
        return None if found is None else len(found) / self.count

    def states(self) -> tuple[str, ...]:
        """By unit the worst measure that names it; "" for units that none names, "unknown" for those not judged."""
        found = ["unknown" if self.why_not else ""] * self.count
        for key in reversed(STATES):
            for unit in self.units.get(key, ()):
                found[unit] = key
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without nan."""
        numbers = {key: plain(each) for key, each in self.numbers.items()}
        units = {key: list(each) for key, each in self.units.items()}
        return {**vars(self), "units": units, "numbers": numbers}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LayerHealth:
        """What `to_dict` gave.

        Args:
            document: The same.

        Returns:
            An equal record.

        Raises:
            ConfigError: It is none.
        """
        try:
            named = cast("Mapping[str, list[int]]", document["units"])
            return cls(
                path=document["path"],
                kind=document["kind"],
                count=document["count"],
                is_head=document["is_head"],
                units={key: tuple(each) for key, each in named.items()},
                numbers={key: float(each) for key, each in document["numbers"].items()},
                settled=document["settled"],
                normed=document.get("normed", False),
                why_not=document["why_not"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"a layer of a health document must be what to_dict() gave: {type(error).__name__}: {error} (Health)"
            ) from error
