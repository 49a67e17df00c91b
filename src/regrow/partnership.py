"""PartnerRecipe: what networks that are trained side by side lend each other, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from regrow._words import said, words
from regrow.compose import RecipeInfo
from regrow.errors import ConfigError
from regrow.schedule import Schedule
from regrow.weighing import Weighing

Memory = Literal["keep", "graft", "reset"]
"""What becomes of the optimizer's memory of weights that were blended."""

Order = Literal["paper", "reference"]
"""Whose share the tensors around a convolution take."""


@final
@dataclass(frozen=True, kw_only=True)
class PartnerRecipe:
    """A published method for several networks: how much each keeps of its own, and when they meet.

    The networks stand in a ring. When they meet, each takes a share of the weights that the one before it had until
    then, layer by layer; all at once, from the weights as they were.

    Args:
        info: Name and source.
        partners: How many networks, at least 2.
        weigh: Two layers to a share.
        when: At the end of which optimizer steps.
        order: ``paper``: each layer has a share of its own, and what belongs to it (bias, norm entries, running
            statistics) takes it too. ``reference``: a share is worked out at each convolution by its name, and carried
            along over all tensors up to the next one in the order of the state dict, as the released code does.
        memory: ``keep`` the optimizer's memory as it is, ``graft`` it with the same shares, or ``reset`` it.
        words: As of a `Recipe`.

    Raises:
        ConfigError: Less than 2 partners, or another word.
    """

    info: RecipeInfo
    partners: int
    weigh: Weighing
    when: Schedule
    order: Order = "paper"
    memory: Memory = "keep"
    words: Mapping[str, str] = field(default_factory=words, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        where = f"recipe '{self.info.name}'"
        if (
            isinstance(self.partners, bool)
            or not isinstance(self.partners, int)  # pyright: ignore[reportUnnecessaryIsInstance] # users' words
            or self.partners < 2
        ):
            raise ConfigError(
                f"partners must be a whole number of at least 2, got {self.partners!r} ({where})"
            )
        for name, value, known in (
            ("order", self.order, ("paper", "reference")),
            ("memory", self.memory, ("keep", "graft", "reset")),
        ):
            if value not in known:
                words = ", ".join(repr(each) for each in known)
                raise ConfigError(f"{said(name)} must be one of {words}, got {value!r} ({where})")
