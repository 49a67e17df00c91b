"""How well each ranking of a network's filters agrees with the oracle's, which silences them one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from regrow.criteria import Criterion, FilterOverlap, Observation, Signal
from regrow.graph import Filters
from regrow.lab.agreement import rank_correlation, value_correlation
from regrow.lab.measure import finite_or_none
from regrow.loop.measure.probe import Probe
from regrow.recipes.repr import rankings
from regrow.study.records import CorrelationRecord

_ORACLE: Final = "oracle"
_RANKINGS: Final = rankings()

COMPARED: Final[Mapping[str, Criterion]] = MappingProxyType(
    {
        "overlap": FilterOverlap(),
        "overlap, corrected": FilterOverlap(corrected=True),
        **{word: criterion for word, criterion in _RANKINGS.items() if word != _ORACLE},
    }
)
"""Every ranking that is compared with the oracle, by the word of ``rank_by`` where it has one."""

_OF_WEIGHTS: Final = frozenset({Signal.WEIGHTS, Signal.GRADIENTS})


def probe_for_rankings(
    model: nn.Module, layers: Sequence[Filters], *, images: Tensor, labels: Tensor
) -> Probe:
    """What measures a network for all rankings; making it tries everything on a few images."""
    criteria = (_RANKINGS[_ORACLE], *COMPARED.values())
    signals = {signal for criterion in criteria for signal in criterion.needs}
    return Probe(model, layers, images, targets=labels, signals=signals)


def compare_rankings(
    model: nn.Module,
    layers: Sequence[Filters],
    *,
    images: Tensor,
    labels: Tensor,
    epoch: int,
    seed: int,
    out: Mapping[str, Sequence[int]],
) -> list[CorrelationRecord]:
    """Rank all filters of a network in every way, and compare each ranking with the oracle's: one record a ranking.

    All rankings have the same filters: those in the network, of the layers that every ranking can score. Without any
    such layer there is no record; a correlation that is not defined (all scores equal, or one that is no number) is
    None.
    """
    criteria = {_ORACLE: _RANKINGS[_ORACLE], **COMPARED}
    seen = probe_for_rankings(model, layers, images=images, labels=labels).observe()
    found: list[list[Tensor]] = []  # scores of all rankings, layer by layer
    for layer, observation in seen.items():
        inside = torch.ones(observation.count, dtype=torch.bool, device="cpu")
        inside[list(out.get(layer, ()))] = False
        if not bool(inside.any()):
            continue
        key = {"layer": layer, "step": epoch, "seed": seed}
        own = [_scores(each, observation, inside, **key) for each in criteria.values()]
        known = [scores for scores in own if scores is not None]
        if len(known) == len(own):
            found.append(known)
    if not found:
        return []
    parts = zip(*found, strict=True)
    together = {name: torch.cat(own) for name, own in zip(criteria, parts, strict=True)}
    oracle = together.pop(_ORACLE)
    return [
        CorrelationRecord(
            epoch=epoch,
            ranking=name,
            value=finite_or_none(float(value_correlation(own, oracle))),
            rank=finite_or_none(float(rank_correlation(own, oracle))),
            filters=len(oracle),
        )
        for name, own in together.items()
    ]


def _scores(
    criterion: Criterion, observation: Observation, inside: Tensor, **key: Any
) -> Tensor | None:
    """Scores of the filters in the network; weights are compared among them alone. `key`: by what chance is drawn."""
    alone = criterion.needs <= _OF_WEIGHTS
    if alone:
        weight, grad = observation.weight, observation.grad
        observation = replace(
            observation,
            count=int(inside.sum()),
            weight=None if weight is None else weight[inside.to(weight.device)],
            grad=None if grad is None else grad[inside.to(grad.device)],
        )
    state = criterion.observe({}, observation)
    _, scores = criterion.score(state, count=observation.count, **key)
    if scores is None:
        return None
    scores = scores.detach().to("cpu", torch.float64)
    return scores if alone else scores[inside]
