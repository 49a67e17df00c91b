"""Parts of a study as texts, to tell which are equal without comparing all with all."""

from __future__ import annotations

import json
from collections.abc import Collection

from pydantic import BaseModel


class Texts:
    """Texts that are equal where parts are; each object is written out once, however many trials have it.

    Args:
        without: Names of settings that may differ.
    """

    def __init__(self, *, without: Collection[str] = ()) -> None:
        self._without = set(without)
        self._found: dict[tuple[int, ...], str] = {}
        self._held: list[object] = []

    def of(self, *parts: BaseModel) -> str:
        """Write parts out."""
        key = tuple(map(id, parts))
        if key not in self._found:
            self._held.append(parts)  # so that no other object takes an id over
            told = [part.model_dump(mode="json", exclude=self._without) for part in parts]
            self._found[key] = json.dumps(told, sort_keys=True)
        return self._found[key]
