"""Host: the model that a recipe is attached to, in its training, as the parts of the recipe meet it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from regrow.graph import Wiring
from regrow.loop.ranks import Ranks
from regrow.loop.trained import WorkingLayers
from regrow.renewal import Layer
from regrow.surgery import Companion


@dataclass(frozen=True, kw_only=True, eq=False)
class Host:
    """What all that a recipe does in one training has in common.

    Attributes:
        model: The bare model.
        called: The model as it is called, in its wrappers.
        wiring: What was traced of it.
        layers: Those that may be renewed, by path.
        working: Which of them take part in the training now, and what may be written.
        companions: Copies of the model.
        ranks: The processes that train the model together.
        dry_run: Nothing is changed.
    """

    model: nn.Module
    called: nn.Module
    wiring: Wiring
    layers: Mapping[str, Layer]
    working: WorkingLayers
    companions: Sequence[Companion]
    ranks: Ranks
    dry_run: bool
