"""Comparison: two looks at one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regrow.errors import ConfigError
from regrow.health.layer_health import LayerHealth
from regrow.health.measures import BY_KEY, OF_UNITS


@dataclass(frozen=True, kw_only=True)
class Change:
    """Units that a measure names in one layer, then and now."""

    layer: str  # module path
    measure: str  # key of the measure
    before: int  # how many then
    after: int  # how many now
    stayed: int  # how many of those of then are among those of now
    count: int  # units of the layer


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What has changed between two looks."""

    changes: tuple[Change, ...]  # by layer and measure, where either look named somebody
    # By layer and measure, a number then and now, where both looks have it.
    numbers: Mapping[str, Mapping[str, tuple[float, float]]]

    @property
    def still_dead(self) -> float | None:
        """The share of the dead units of then that are dead now; None where nobody was dead."""
        dead = [each for each in self.changes if each.measure == "dead"]
        before = sum(each.before for each in dead)
        return sum(each.stayed for each in dead) / before if before else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "changes": [asdict(each) for each in self.changes],
            "numbers": {
                path: {key: list(both) for key, both in each.items()}
                for path, each in self.numbers.items()
            },
            "still_dead": self.still_dead,
        }

    def __str__(self) -> str:
        """One line a change."""
        moved = [
            each for each in self.changes if each.before != each.after or each.stayed < each.before
        ]
        lines = [
            f"{each.layer}: {BY_KEY[each.measure].title} {each.before} -> {each.after} of {each.count}"
            + (f", {each.stayed} of them the same" if each.stayed else "")
            for each in moved
        ]
        still = self.still_dead
        if still is not None:
            lines.append(f"{100 * still:.0f} % of the units that were dead are dead still")
        return "\n".join(lines) or "no unit has changed its state"


def compared(after: Sequence[LayerHealth], before: Sequence[LayerHealth]) -> Comparison:
    """Layer by layer; other layers are refused."""
    then = {each.path: each for each in before}
    mine, others = ({each.path: each.count for each in layers} for layers in (after, before))
    if mine != others:
        apart = sorted(set(mine.items()) ^ set(others.items()))
        raise ConfigError(
            f"before must be of the same network: layers differ, such as '{apart[0][0]}' of {apart[0][1]} units "
            "(Health.compare)"
        )
    changes: list[Change] = []
    numbers: dict[str, dict[str, tuple[float, float]]] = {}
    for layer in after:
        old = then[layer.path]
        for key in OF_UNITS:
            was, now = set(old.units.get(key, ())), set(layer.units.get(key, ()))
            if key in old.units and key in layer.units and (was or now):
                changes.append(
                    Change(
                        layer=layer.path,
                        measure=key,
                        before=len(was),
                        after=len(now),
                        stayed=len(was & now),
                        count=layer.count,
                    )
                )
        both = layer.numbers.keys() & old.numbers.keys()
        numbers[layer.path] = {key: (old.numbers[key], layer.numbers[key]) for key in sorted(both)}
    return Comparison(changes=tuple(changes), numbers=numbers)
