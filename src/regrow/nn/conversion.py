"""What a conversion of norm layers did, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Final

from torch import nn

_LINE: Final = 120
_NAMES: Final = 4
"""Paths that a line of the printed report names; the fields have all of them."""


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What became of each norm layer. Layers are named by their first module path.

    Attributes:
        from_: The kind that was replaced.
        to: The kind that is there now.
        replaced: The norms that were replaced.
        left: The norms that were not, and why.
        fused: By norm, the ReLU that is now part of it.
        not_fused: By replaced norm, why the ReLU behind it is not part of it, or that there is none.
        split: By norm, the ReLU that was part of it and is a module again.
        dropped_biases: Layers that lost a bias which cancelled.
        kept_biases: Layers with a bias in front of a replaced norm, and why it stays.
    """

    from_: str
    to: str
    replaced: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict[str, str])
    fused: Mapping[str, str] = field(default_factory=dict[str, str])
    not_fused: Mapping[str, str] = field(default_factory=dict[str, str])
    split: Mapping[str, str] = field(default_factory=dict[str, str])
    dropped_biases: tuple[str, ...] = ()
    kept_biases: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        """A few lines: the counts, and every reason with the layers that it holds for."""
        counts = [f"{len(self.replaced)} replaced"]
        counts += [f"{len(self.left)} left"] if self.left else []
        counts += [f"{len(self.fused)} ReLUs fused"] if self.fused else []
        counts += [f"{len(self.split)} ReLUs split off"] if self.split else []
        counts += [f"{len(self.dropped_biases)} biases dropped"] if self.dropped_biases else []
        lines = [f"{self.from_} -> {self.to}: {', '.join(counts)}"]
        for title, reasons in (
            ("left", self.left),
            ("ReLU not fused", self.not_fused),
            ("bias kept", self.kept_biases),
        ):
            for reason, paths in _by_reason(reasons).items():
                names = ", ".join(paths[:_NAMES])
                names += f" and {len(paths) - _NAMES} more" if len(paths) > _NAMES else ""
                lines += wrap(f"  {title}: {reason} ({names})", _LINE, subsequent_indent="    ")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A converted model, and what was done.

    Attributes:
        model: The new model.
        report: What became of each norm layer.
    """

    model: nn.Module
    report: ConversionReport


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for path, reason in reasons.items():
        grouped.setdefault(reason, []).append(path or "the model itself")
    return grouped
