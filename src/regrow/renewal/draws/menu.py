"""The draws by name, as `Redraw`, recipes and study files give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from regrow.errors import ConfigError
from regrow.renewal.draws.base import Draw
from regrow.renewal.draws.centred import Centred
from regrow.renewal.draws.first_values import FirstValues
from regrow.renewal.draws.living_scale import LivingScale
from regrow.renewal.draws.split import Split
from regrow.renewal.draws.unit_variance import UnitVariance

_MENU: Final[Mapping[str, Callable[[], Draw]]] = {
    "initial": FirstValues,
    "living_scale": LivingScale,
    "centred": Centred,
    "unit_variance": UnitVariance,
    "split": Split,
}


def draw_of(given: object, *, where: str) -> Draw | None:
    """A draw that was given by name, as itself, or not at all."""
    if given is None or given == "initialiser":
        return None
    if isinstance(given, str) and given in _MENU:
        return _MENU[given]()
    if isinstance(given, type) or not isinstance(given, Draw):
        names = ", ".join(repr(name) for name in ("initialiser", *_MENU))
        raise ConfigError(
            f"draw must be {names}, or one of regrow.renewal.draws, such as LivingScale(factor=0.2), got {given!r} "
            f"({where})"
        )
    return given
