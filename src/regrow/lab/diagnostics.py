"""What a trial looks at beside its accuracy: how filters overlap, and how their rankings agree with the oracle.

It reads the network and writes nothing: training is the same bits with and without it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, final

import torch
from torch import Tensor, nn

from regrow.errors import ConfigError
from regrow.functional.overlap import filter_overlap
from regrow.graph import Filters, trace
from regrow.graph.slices import rows
from regrow.lab.measure import finite_or_none
from regrow.lab.rankings import compare_rankings, probe_for_rankings
from regrow.lab.weight_diagnosis import WeightDiagnosis
from regrow.study.document import Diagnostics
from regrow.study.records import CorrelationRecord, OverlapRecord


def watched_layers(model: nn.Module, example: Tensor) -> tuple[Filters, ...]:
    """The layers that are looked at: all convolutions that do not make the output, for every arm the same.

    Args:
        model: The network; it runs once.
        example: Two images.

    Returns:
        The layers in the network's order.

    Edge cases:
        A network that cannot be followed is a TraceError.
    """
    return trace(model, example).renewable()


def overlap_of(
    weight: Tensor, *, groups: int = 1, out: Sequence[int] = ()
) -> tuple[float | None, float | None]:
    """The paper's overlap of a layer as it stands: filters that are out of the network are not in it.

    Args:
        weight: (O, F), one row a filter.
        groups: Of a grouped layer.
        out: Filters that are out of the network.

    Returns:
        Mean and largest of `regrow.functional.overlap.filter_overlap` over the filters in the network, among
        themselves; None where that is no number, or all are out.

    Examples:
        >>> overlap_of(torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 0.0]]), out=(2,))
        (0.5, 0.5)
    """
    inside = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    inside[list(out)] = False
    if not bool(inside.any()):
        return None, None
    there = weight.where(inside[:, None], 0.0)  # in their places, for the groups' sake
    overlap = filter_overlap(there, groups=groups)[inside] * (len(weight) / int(inside.sum()))
    return finite_or_none(float(overlap.mean())), finite_or_none(float(overlap.max()))


@final
class Diagnosis:
    """The diagnostics of one trial.

    Attributes:
        weights: What the weights carry.
        layers: Number of filters by layer, in the network's order; empty when nothing is asked for.
        overlaps: What was found so far of the overlap.
        correlations: What was found so far of the rankings.

    Args:
        asked: What the study asks for.
        model: The network; it is traced once.
        example: Two images.
        held_out: Images and classes that are not trained on, for the oracle.
        seed: The trial's, for the random ranking.

    Raises:
        ConfigError: An oracle without images that are held out.
    """

    def __init__(
        self,
        asked: Diagnostics,
        *,
        model: nn.Module,
        example: Tensor,
        held_out: tuple[Tensor, Tensor] | None,
        seed: int,
    ) -> None:
        if asked.oracle_every_epochs and held_out is None:
            raise ConfigError(
                "oracle_every_epochs needs images that are not trained on: set train.held_out, got 0"
            )
        self._asked = asked
        self._held_out = held_out
        self._seed = seed
        self._filters = watched_layers(model, example) if asked.any else ()
        self.layers = {filters.path: filters.count for filters in self._filters}
        if asked.oracle_every_epochs and held_out is not None:
            probe_for_rankings(model, self._filters, images=held_out[0], labels=held_out[1])
        self.weights = WeightDiagnosis(self._filters if asked.weights else ())
        self.overlaps: list[OverlapRecord] = []
        self.correlations: list[CorrelationRecord] = []

    def look(
        self, models: Sequence[nn.Module], *, epoch: int, out: Mapping[str, Sequence[int]]
    ) -> float:
        """Look at the networks after an epoch.

        Args:
            models: The networks, of the kind that was traced. Overlap and rankings are those of the first.
            epoch: 1-based.
            out: The filters that are out of the network, by layer.

        Returns:
            Seconds that it took: no part of the training's time.
        """
        started = time.perf_counter()
        model = models[0]
        self.weights.look(models, epoch=epoch)
        if self._asked.overlap:
            with torch.no_grad():
                self._note_overlap(dict(model.named_parameters()), epoch=epoch, out=out)
        every = self._asked.oracle_every_epochs
        if every and epoch % every == 0 and self._held_out is not None and _finite(model):
            images, labels = self._held_out
            self.correlations += compare_rankings(
                model,
                self._filters,
                images=images,
                labels=labels,
                epoch=epoch,
                seed=self._seed,
                out=out,
            )
        return time.perf_counter() - started

    def _note_overlap(
        self, parameters: Mapping[str, Tensor], *, epoch: int, out: Mapping[str, Sequence[int]]
    ) -> None:
        for filters in self._filters:
            gone = out.get(filters.path, ())
            mean, largest = overlap_of(rows(parameters[filters.weight].detach(), filters), out=gone)
            self.overlaps.append(
                OverlapRecord(
                    epoch=epoch, layer=filters.path, mean=mean, largest=largest, out=len(gone)
                )
            )

    def found(self) -> dict[str, Any]:
        """What was found, by the fields of `TrialResult`."""
        return {
            "overlaps": tuple(self.overlaps),
            "correlations": tuple(self.correlations),
            "weights": tuple(self.weights.records),
        }

    def state_dict(self) -> dict[str, Any]:
        """What was found so far, as plain values."""
        return {
            "overlaps": [asdict(record) for record in self.overlaps],
            "correlations": [asdict(record) for record in self.correlations],
            "weights": self.weights.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` gave.
        """
        self.overlaps = [OverlapRecord(**record) for record in state["overlaps"]]
        self.correlations = [CorrelationRecord(**record) for record in state["correlations"]]
        self.weights.load_state_dict(state["weights"])


def _finite(model: nn.Module) -> bool:
    """A network that blew up has no ranking."""
    with torch.no_grad():
        return all(bool(parameter.isfinite().all()) for parameter in model.parameters())
