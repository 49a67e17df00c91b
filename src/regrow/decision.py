"""Decision: what a recipe does at one step, from what was observed until then. Pure: states come in and go out.

Called by `loop/stepper` before an optimizer's step, with what it has observed; the `Decision` goes to `loop/renewer`
or into a drop phase.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast, final

import torch
from torch import Tensor

from regrow._shapes import Mask, Scores
from regrow.compose import Recipe
from regrow.criteria.base import (
    AveragingCriterion,
    Criterion,
    CriterionState,
    Observation,
    RememberingCriterion,
    SteadyCriterion,
    WatchingCriterion,
)
from regrow.errors import ConfigError
from regrow.graph import Streams
from regrow.selection import Selection, SelectionState


@final
class Born(dict[str, Tensor]):
    """As `RecipeState.born`; knows how many of a layer are past a grace without a look at a tensor. Not changed."""

    def __init__(self, born: Mapping[str, Tensor]) -> None:
        super().__init__(born)
        self._sorted: dict[str, list[int]] = {}

    def with_(self, renewed: Mapping[str, Tensor]) -> Born:
        """The same, with other steps in some layers."""
        found = Born({**self, **renewed})
        found._sorted = {
            layer: each for layer, each in self._sorted.items() if layer not in renewed
        }
        return found

    def count_before(self, step: int, layer: str) -> int:
        """How many of a layer's filters were renewed before a step, or never."""
        steps = self._sorted.get(layer)
        if steps is None:  # until the next renewal
            steps = self._sorted[layer] = sorted(self[layer].tolist())
        return bisect_left(steps, step)


@dataclass(frozen=True, kw_only=True)
class RecipeState:
    """What a recipe remembers between steps: tensors by layer."""

    criteria: Mapping[str, CriterionState]  # what the criterion remembers of each layer
    born: Mapping[str, Tensor]  # step of each filter's last renewal, int64 (O,); -1 = never
    # What the selection remembers.
    selection: SelectionState = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to happen at one step."""

    # By layer, (O,); only layers with a filter to renew.
    masks: Mapping[str, Mask] = field(default_factory=dict[str, Tensor])
    # By layer, (O,), the scores behind it.
    scores: Mapping[str, Scores] = field(default_factory=dict[str, Tensor])
    # Number of filters whose score is not a number, by layer; only where there are any.
    nonfinite: Mapping[str, int] = field(default_factory=dict[str, int])
    # By layer, (O,), how far each marked filter is moved; only of a graded selection.
    strengths: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    # By layer, what a criterion that remembers it says that filters give on the average (`Utility.means_of`).
    means: Mapping[str, Mapping[int, Tensor]] = field(
        default_factory=dict[str, Mapping[int, Tensor]]
    )
    # The scores were not used, because the loss is under the recipe's `min_loss`.
    gated: bool = False


def initial_state(recipe: Recipe, counts: Mapping[str, int]) -> RecipeState:
    """Nothing observed, nothing renewed; refuses layers (with their number of filters) that cannot be selected from."""
    recipe.select.check(counts)
    born = {
        layer: torch.full((count,), -1, dtype=torch.int64, device="cpu")
        for layer, count in counts.items()
    }
    return RecipeState(
        criteria={layer: {} for layer in counts},
        # Who may be taken is counted in every step by selections that save up.
        born=Born(born) if recipe.select.remembers else born,
    )


def observe(
    recipe: Recipe, state: RecipeState, observations: Mapping[str, Observation]
) -> RecipeState:
    """The state after a look at one optimizer step. The old one is not changed, here as everywhere below."""
    seen = {
        layer: recipe.criterion.observe(state.criteria[layer], observation)
        for layer, observation in observations.items()
    }
    return replace(state, criteria={**state.criteria, **seen})


def forget(state: RecipeState, layers: Collection[str]) -> RecipeState:
    """What was observed of layers that have left the training is of another time; when they were renewed is kept."""
    nothing: dict[str, CriterionState] = {layer: {} for layer in layers}
    return replace(state, criteria={**state.criteria, **nothing})


def decide(
    recipe: Recipe,
    state: RecipeState,
    *,
    step: int,
    seed: int,
    loss: float | None = None,
    streams: Streams | None = None,
    select: Selection | None = None,
    due: bool = True,
    layers: Collection[str] | None = None,
) -> tuple[RecipeState, Decision]:
    """Score, and select.

    Args:
        recipe: The recipe.
        state: What was observed.
        step: Optimizer step, 0-based.
        seed: For criteria that draw random numbers.
        loss: Training loss of this step; only needed with `min_loss`.
        streams: Filters that are scored, selected and renewed as one.
        select: Instead of the recipe's own, where it works on a part of a network, say.
        due: The schedule's step. False: a criterion that watches has come to an end between two of them.
        layers: Those that take part: the others have no score, and count in no share of the network. None: all.

    Returns:
        The state after the decision, and the decision.

    Raises:
        ConfigError: `min_loss` is set and no loss came.

    Edge cases:
        A score that is not a number never selects its filter and is counted. A loss that is not a number is not under
        `min_loss`.
    """
    if recipe.min_loss is not None and loss is None:
        raise ConfigError(
            f"min_loss={recipe.min_loss} needs the training loss: call regrower.tell(loss=...) before "
            f"optimizer.step() (recipe '{recipe.info.name}')"
        )
    strange: dict[str, int] = {}
    looks = watching(recipe.criterion)
    if looks is not None:
        state, strange = _suspect(looks, state, due=due, step=step, seed=seed)
        if not any(looks.ripe(each) for each in state.criteria.values()):
            return state, Decision(nonfinite=strange)
    gated = recipe.min_loss is not None and loss is not None and loss < recipe.min_loss
    may_wait = recipe.select.remembers and not gated and streams is None and select is None
    saved = _only_saves(recipe, state, step=step, layers=layers) if may_wait else None
    if saved is not None:
        return replace(state, selection=saved), Decision()
    criteria = dict(state.criteria)
    scores: dict[str, Scores] = {}
    for layer, born in state.born.items():
        if layers is not None and layer not in layers:
            continue
        criteria[layer], found = recipe.criterion.score(
            state.criteria[layer], layer=layer, count=born.shape[0], step=step, seed=seed
        )
        if found is not None:
            scores[layer] = found
    select = select or recipe.select
    if gated or select.idle(scores):
        return replace(state, criteria=criteria), Decision(gated=gated)
    eligible = _eligible(recipe, state.born, scores, step=step)
    if streams is not None:
        scores, eligible = streams.gather(scores, eligible)
    selection, masks = (
        _saving(select, state.selection, scores, eligible=eligible, step=step)
        if select.remembers
        else (state.selection, select(scores, eligible=eligible, step=step))
    )
    if not masks:
        return replace(state, criteria=criteria, selection=selection), Decision(nonfinite=strange)
    if streams is not None:
        masks = streams.spread(masks)
    masks, nonfinite = _marked(masks, scores)
    marked = {layer: scores[layer] for layer in masks}
    means: dict[str, Mapping[int, Tensor]] = {}
    if hasattr(recipe.criterion, "renewed"):
        means = _means(recipe.criterion, criteria, masks)  # before they are forgotten
        remembers = cast("RememberingCriterion", recipe.criterion)
        criteria |= {layer: remembers.renewed(criteria[layer], masks[layer]) for layer in masks}
    stamp = {layer: torch.where(masks[layer].cpu(), step, state.born[layer]) for layer in masks}
    was = state.born
    born = was.with_(stamp) if isinstance(was, Born) else {**was, **stamp}
    after = RecipeState(criteria=criteria, born=born, selection=selection)
    return after, Decision(
        masks=masks,
        scores=marked,
        nonfinite=strange or nonfinite,
        strengths=select.strengths(marked) if select.graded else {},
        means=means,
    )


def _only_saves(
    recipe: Recipe, state: RecipeState, *, step: int, layers: Collection[str] | None
) -> SelectionState | None:
    """What a selection remembers behind a step in which it takes nobody, whatever the scores are; None: they count."""
    if not hasattr(recipe.criterion, "is_scored"):
        return None
    criterion = cast("SteadyCriterion", recipe.criterion)
    born = state.born if isinstance(state.born, Born) else Born(state.born)
    first = step - recipe.grace
    counts = {
        layer: born.count_before(first if recipe.newborn else max(first, 0), layer)
        for layer in born
        if (layers is None or layer in layers) and criterion.is_scored(state.criteria[layer])
    }
    return recipe.select.waits(state.selection, counts)


def _saving(
    select: Selection,
    state: SelectionState,
    scores: Mapping[str, Scores],
    *,
    eligible: Mapping[str, Mask],
    step: int,
) -> tuple[SelectionState, dict[str, Mask]]:
    """Ask a selection that remembers; nothing where it takes nobody, else a mask for each layer."""
    state, found = select.chosen(state, scores, eligible=eligible, step=step)
    nobody = {} if not found else {layer: torch.zeros_like(may) for layer, may in eligible.items()}
    return state, {**nobody, **found}


def _means(
    criterion: Criterion, states: Mapping[str, CriterionState], layers: Collection[str]
) -> dict[str, Mapping[int, Tensor]]:
    """What filters give on the average, by layer, if the criterion knows."""
    if not hasattr(criterion, "means_of"):
        return {}
    averages = cast("AveragingCriterion", criterion)
    return {layer: averages.means_of(states[layer]) for layer in layers}


def _suspect(
    looks: WatchingCriterion, state: RecipeState, *, due: bool, step: int, seed: int
) -> tuple[RecipeState, dict[str, int]]:
    """At a step that is due, let the criterion look at what is cheap; mostly there is nothing to see."""
    if not due:
        return state, {}
    if looks.idle(state.criteria):
        return replace(state, criteria={layer: {} for layer in state.born}), {}
    found = {
        layer: looks.suspect(each, layer=layer, count=len(state.born[layer]), step=step, seed=seed)
        for layer, each in state.criteria.items()
    }
    strange = {layer: count for layer, (_, count) in found.items() if count}
    criteria = {layer: each for layer, (each, _) in found.items()}
    return replace(state, criteria=criteria), strange


def _eligible(
    recipe: Recipe, born: Mapping[str, Tensor], scores: Mapping[str, Scores], *, step: int
) -> dict[str, Mask]:
    """Who is past the grace period: worked out for all layers together, and moved to their device at once."""
    if not scores:
        return {}
    steps = torch.cat([born[layer] for layer in scores])
    first = next(iter(scores.values())).device
    may = step - steps > recipe.grace
    if not recipe.newborn:
        may |= steps < 0
    may = may.to(first)
    parts = may.split([len(born[layer]) for layer in scores])
    return {layer: part.to(scores[layer].device) for layer, part in zip(scores, parts, strict=True)}


def _marked(
    masks: Mapping[str, Mask], scores: Mapping[str, Scores]
) -> tuple[dict[str, Mask], dict[str, int]]:
    """Only the layers with something marked, and the counts of scores that are no numbers.

    One transfer for the whole network, not one a layer: on a GPU each would wait for the device.
    """
    if not scores:
        return {}, {}
    first = next(iter(scores.values())).device  # a model may be spread over several devices
    flat = _side_by_side(scores.values(), first)
    marks = _side_by_side([masks[layer] for layer in scores], first)
    flags = torch.stack((marks, ~flat.isfinite())).cpu()
    if not flags.any():
        return {}, {}
    parts = flags.split([each.numel() for each in scores.values()], 1)
    counts = dict(zip(scores, [part.sum(1).tolist() for part in parts], strict=True))
    marked = {layer: masks[layer] for layer, (count, _) in counts.items() if count}
    return marked, {layer: bad for layer, (_, bad) in counts.items() if bad}


def _side_by_side(tensors: Iterable[Tensor], device: torch.device) -> Tensor:
    return torch.cat([each.flatten().to(device) for each in tensors])


def watching(criterion: Criterion) -> WatchingCriterion | None:
    """The criterion itself, if it asks for activity only while it has a reason to; else None."""
    return cast("WatchingCriterion", criterion) if hasattr(criterion, "watches") else None
