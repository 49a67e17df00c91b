"""What the distances of filters are measured from, layer by layer: for criteria that ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import ref

from regrow.activity.outlet_range import Centre
from regrow.activity.readings import LayerPass
from regrow.errors import ConfigError


class Centres:
    """Says it to the outlets of a meter's layers."""

    def __init__(self, layers: Mapping[str, LayerPass]) -> None:
        self._layers = layers  # by path, as the meter has made them so far
        # Weak: who has ended without leaving stands in nobody's way.
        self._whose: dict[str, ref[object]] = {}

    def put(self, who: object, centres: Mapping[str, Centre]) -> None:
        """In the coming passes, sum up how far what filters give is from these."""
        for path, centre in centres.items():
            other = self._whose[path]() if path in self._whose else None
            if other is not None and other is not who:
                raise ConfigError(
                    f"only one recipe can measure how far what '{path}' gives is from its mean: detach the other one "
                    "first (attach)"
                )
            self._whose[path] = ref(who)
            self._set(path, centre)

    def leave(self, who: object) -> None:
        """Ask for nothing any more."""
        for path in [path for path, other in self._whose.items() if other() is who]:
            del self._whose[path]
            self._set(path, None)

    def _set(self, path: str, centre: Centre | None) -> None:
        for outlet in self._layers[path].outlets if path in self._layers else ():
            outlet.centre = centre
