"""GainReport: what `check_gain_` found and did, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

from regrow._plural import count


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What one layer makes of what it hears.

    Attributes:
        path: Its module path.
        ratio: rms(output without the bias) / rms(input), behind layers that are scaled; None where one of the two is
            silent, or the layer did not run as a module.
        factor: What its weights were multiplied by; 1.0 where they keep their bits.
        kept: Why it is never scaled; "" where it may be.
    """

    path: str
    ratio: float | None
    factor: float = 1.0
    kept: str = ""


@dataclass(frozen=True, kw_only=True)
class GainReport:
    """What `check_gain_` found and did.

    Attributes:
        low, high: Within which a ratio is left as it is.
        layers: In the order of the forward pass.
    """

    low: float
    high: float
    layers: tuple[Gain, ...]

    @property
    def scaled(self) -> tuple[Gain, ...]:
        """Those whose weights were changed."""
        return tuple(layer for layer in self.layers if layer.factor != 1.0)

    def __str__(self) -> str:
        """One line a layer."""
        lines = [
            f"rms(output) / rms(input), to be within {self.low:g} and {self.high:g}: "
            f"{len(self.scaled)} of {count(len(self.layers), 'layer')} scaled"
        ]
        for layer in self.layers:
            line = f"{layer.path}: " + ("silent" if layer.ratio is None else f"{layer.ratio:.4g}")
            if layer.factor != 1.0:
                line += f", weights times {layer.factor:.4g}"
            if layer.kept:
                line += f", left as it is: {layer.kept}"
            lines += wrap(line, 120, initial_indent="  ", subsequent_indent="    ")
        return "\n".join(lines)
