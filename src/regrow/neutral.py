"""What a recipe says of its own neutral control: the same recipe whose decision says nothing. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, final

OF: Final = "of"
"""The setting of a control that names the recipe that it is made of; its other settings are that recipe's."""


@final
@dataclass(frozen=True, kw_only=True)
class Neutral:
    """The settings that take a recipe's decision out of it, and those that are about nothing else.

    An arm of the same recipe, training and network that is neutral differs from a tested arm in the decision alone.

    Attributes:
        decides: What is decided: which ``filters``, or how large the ``shares`` of several networks are.
        settings: With these the decision says nothing: ``{"rank_by": "random"}``.
        unless: Values with which it says something all the same.
        choice: Settings that say how is decided, and nothing about what follows: an arm and its control may differ
            in them.
    """

    decides: Literal["filters", "shares"]
    settings: Mapping[str, object]
    choice: frozenset[str]
    unless: Mapping[str, object] = field(default_factory=dict[str, object])

    def holds(self, settings: Mapping[str, object]) -> bool:
        """Whether a recipe with these settings is its own neutral control.

        Args:
            settings: All of them, defaults written out.

        Returns:
            Whether its decision says nothing.

        Examples:
            >>> ranking = Neutral(decides="filters", settings={"by": "random"}, choice=frozenset({"by"}))
            >>> ranking.holds({"by": "random", "fraction": 0.3}), ranking.holds({"by": "weights"})
            (True, False)
        """
        spoilt = any(
            key in settings and settings[key] == value for key, value in self.unless.items()
        )
        return not spoilt and all(
            settings.get(key) == value for key, value in self.settings.items()
        )
