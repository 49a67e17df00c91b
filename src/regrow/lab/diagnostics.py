"""What a trial looks at beside its accuracy: how filters overlap, and how their rankings agree with the oracle.

It reads the network and writes nothing: training is the same bits with and without it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from regrow.criteria.filter_overlap import filter_overlap
from regrow.errors import ConfigError
from regrow.graph import trace
from regrow.graph.slices import rows
from regrow.lab.data import Dataset
from regrow.lab.ending import Kept
from regrow.lab.measure import finite, finite_or_none
from regrow.lab.rankings import compare_rankings, probe_for_rankings
from regrow.study.records import CorrelationRecord, OverlapRecord, WeightRecord
from regrow.study.trials import TrialSpec
from regrow.study.views import BELOW
from regrow.weighing.information import invalid_shares, weight_entropy


def overlap_of(
    weight: Tensor, *, groups: int = 1, out: Sequence[int] = ()
) -> tuple[float | None, float | None]:
    """The paper's overlap of a layer as it stands: mean and largest of `filter_overlap`; None where that is no number.

    Over the filters in the network, among themselves: those that are out of it are not in it.
    """
    inside = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    inside[list(out)] = False
    if not bool(inside.any()):
        return None, None
    there = weight.where(inside[:, None], 0.0)  # in their places, for the groups' sake
    overlap = filter_overlap(there, groups=groups)[inside] * (len(weight) / int(inside.sum()))
    return finite_or_none(float(overlap.mean())), finite_or_none(float(overlap.max()))


@final
class Diagnosis(Kept):
    """The diagnostics of one trial; the network is traced once."""

    def __init__(self, spec: TrialSpec, model: nn.Module, data: Dataset) -> None:
        super().__init__(
            overlaps=OverlapRecord, correlations=CorrelationRecord, weights=WeightRecord
        )
        asked, held_out = spec.diagnostics, data.held_out
        if asked.oracle_every_epochs and held_out is None:
            raise ConfigError(
                "oracle_every_epochs needs images that are not trained on: set train.held_out, got 0"
            )
        self._asked, self._held_out, self._seed = asked, held_out, spec.seed
        # All convolutions that do not make the output, for every arm the same.
        self._filters = trace(model, data.x_train[:2]).renewable() if asked.any else ()
        # Number of filters by layer, in the network's order; empty when nothing is asked for.
        self.layers = {filters.path: filters.count for filters in self._filters}
        if asked.oracle_every_epochs and held_out is not None:
            probe_for_rankings(model, self._filters, images=held_out[0], labels=held_out[1])

    def look(
        self, models: Sequence[nn.Module], *, epoch: int, out: Mapping[str, Sequence[int]]
    ) -> float:
        """Look at the networks after an epoch, at overlap and rankings of the first: the seconds that it took."""
        started = time.perf_counter()
        model = models[0]
        if self._asked.weights:
            self.records["weights"] += self._weights(models, epoch=epoch)
        if self._asked.overlap:
            self.records["overlaps"] += self._overlaps(model, epoch=epoch, out=out)
        every = self._asked.oracle_every_epochs
        if every and epoch % every == 0 and self._held_out is not None and finite(model):
            images, labels = self._held_out
            asked = {"epoch": epoch, "seed": self._seed}
            self.records["correlations"] += compare_rankings(
                model, self._filters, images=images, labels=labels, out=out, **asked
            )
        return time.perf_counter() - started

    @torch.no_grad()
    def _overlaps(
        self, model: nn.Module, *, epoch: int, out: Mapping[str, Sequence[int]]
    ) -> Iterator[OverlapRecord]:
        parameters = dict(model.named_parameters())
        for filters in self._filters:
            gone = out.get(filters.path, ())
            mean, largest = overlap_of(rows(parameters[filters.weight].detach(), filters), out=gone)
            yield OverlapRecord(
                epoch=epoch, layer=filters.path, mean=mean, largest=largest, out=len(gone)
            )

    @torch.no_grad()
    def _weights(self, models: Sequence[nn.Module], *, epoch: int) -> Iterator[WeightRecord]:
        thresholds = [float(norm) for norm in BELOW.values()]
        for partner, model in enumerate(models):
            parameters = dict(model.named_parameters())
            for layer in self._filters:
                weight = rows(parameters[layer.weight].detach(), layer)
                below: list[float] = invalid_shares(weight, thresholds=thresholds).tolist()
                yield WeightRecord(
                    epoch=epoch,
                    partner=partner,
                    layer=layer.path,
                    entropy=finite_or_none(float(weight_entropy(weight.flatten()))),
                    **dict(zip(BELOW, below, strict=True)),
                )
