"""Host: the model that a recipe is attached to, in its training, as the parts of the recipe meet it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from regrow.graph import Wiring
from regrow.loop.optimizers import WorkingLayers
from regrow.loop.ranks import Ranks
from regrow.renewal import Layer
from regrow.surgery import Companion


@dataclass(frozen=True, kw_only=True, eq=False)
class Host:
    """What all that a recipe does in one training has in common."""

    model: nn.Module  # the bare model
    called: nn.Module  # the model as it is called, in its wrappers
    wiring: Wiring  # what was traced of it
    layers: Mapping[str, Layer]  # those that may be renewed, by path
    working: WorkingLayers  # which of them take part in the training now, and what may be written
    companions: Sequence[Companion]  # copies of the model
    ranks: Ranks  # the processes that train the model together
    dry_run: bool  # nothing is changed
