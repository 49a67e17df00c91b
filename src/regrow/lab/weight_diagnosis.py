"""What the weights of a trial's networks carry: entropies of layers, and shares of invalid filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, final

import torch
from torch import nn

from regrow.functional.information import invalid_shares, weight_entropy
from regrow.graph import Filters
from regrow.graph.slices import rows
from regrow.lab.measure import finite_or_none
from regrow.study.records import WeightRecord

THRESHOLDS: Final = (1.0, 0.1, 0.01, 0.001)
"""l1 norms under which a filter counts as invalid: the paper's four."""


@final
class WeightDiagnosis:
    """The entropies and invalid filters of one trial.

    Attributes:
        records: What was found so far.

    Args:
        layers: The layers that are looked at; none where nothing is asked for.
    """

    def __init__(self, layers: Sequence[Filters]) -> None:
        self._layers = tuple(layers)
        self.records: list[WeightRecord] = []

    @torch.no_grad()
    def look(self, models: Sequence[nn.Module], *, epoch: int) -> None:
        """Look at the networks after an epoch.

        Args:
            models: In their order.
            epoch: 1-based.
        """
        for partner, model in enumerate(models):
            parameters = dict(model.named_parameters())
            for layer in self._layers:
                weight = rows(parameters[layer.weight].detach(), layer)
                below: list[float] = invalid_shares(weight, thresholds=THRESHOLDS).tolist()
                self.records.append(
                    WeightRecord(
                        epoch=epoch,
                        partner=partner,
                        layer=layer.path,
                        entropy=finite_or_none(float(weight_entropy(weight.flatten()))),
                        below_1=below[0],
                        below_0_1=below[1],
                        below_0_01=below[2],
                        below_0_001=below[3],
                    )
                )

    def state_dict(self) -> list[dict[str, Any]]:
        """What was found so far, as plain values."""
        return [asdict(record) for record in self.records]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` gave.
        """
        self.records = [WeightRecord(**record) for record in state]
