"""Utility: Continual Backprop's criterion, an average over each unit's own life.

The criterion of `recipes/continual_backprop`. What readers weigh comes to it from `loop/measure/outgoing`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._checks import check_choice, check_decay
from regrow._shapes import Scores
from regrow.criteria._life_average import LifeAverage, debiased
from regrow.criteria.base import CriterionState, LayerActivity, Observation, Signal
from regrow.criteria.random_score import RandomScore
from regrow.errors import ConfigError

UtilityKind = Literal[
    "contribution",
    "weight",
    "adaptation",
    "zero_contribution",
    "adaptable_contribution",
    "feature_by_input",
]

FACTORS: Final[Mapping[str, frozenset[str]]] = {
    "contribution": frozenset({"size", "outgoing"}),
    "weight": frozenset({"outgoing"}),
    "adaptation": frozenset({"incoming"}),
    "zero_contribution": frozenset({"deviation", "outgoing"}),
    "adaptable_contribution": frozenset({"deviation", "outgoing", "incoming"}),
    "feature_by_input": frozenset({"deviation", "incoming"}),
}
"""What each utility is made of, by the names of `unit_utility`'s arguments."""

KINDS: Final = (*FACTORS, "random")
"""What a utility can be."""

_MEAN: Final = "mean."
_CENTRE: Final = "centre"


def input_sizes(
    weight: Float[Tensor, ...],
    *,
    kind: Literal["conv", "conv_transpose", "linear"],
    groups: int = 1,
) -> Float[Tensor, " I"]:
    """The sum of the sizes of all weights that multiply each input channel of a layer.

        size[i] = sum over outputs o that read i, and kernel positions p, of |w(o, i, p)|

    Args:
        weight: (O, I/groups, *K) for convolutions, (O, I) for linear layers, (I, O/groups, *K) for transposed ones.
            Read, never written.
        kind: What the layer is.
        groups: Groups of the convolution.

    Returns:
        (I,), in float32 or wider.

    Examples:
        >>> input_sizes(torch.tensor([[1.0, -2.0], [0.0, 3.0]]), kind="linear")
        tensor([1., 5.])
    """
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32)).abs()
    if kind == "conv_transpose":
        return wide.flatten(1).sum(1)
    by_group = wide.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return by_group.sum((1, 3)).flatten()


def unit_utility(
    kind: UtilityKind,
    *,
    size: Scores | None = None,
    deviation: Scores | None = None,
    outgoing: Scores | None = None,
    incoming: Scores | None = None,
) -> Scores:
    """What each unit is worth in one step.

        contribution:            size[o] * outgoing[o]
        weight:                  outgoing[o]
        adaptation:              1 / incoming[o]
        zero_contribution:       deviation[o] * outgoing[o]
        adaptable_contribution:  deviation[o] * outgoing[o] / incoming[o]
        feature_by_input:        deviation[o] / incoming[o]

    What a unit gives on the average can be had from a bias, so that its distance from that is what would be lost.

    Args:
        kind: Which of the six; `FACTORS` says what each needs of the following.
        size: Mean of the absolute values of what each unit gives, (*S, O). Read, never written, as the others.
        deviation: Mean of the distance of what it gives from its running mean, (*S, O).
        outgoing: Sum of the sizes of the weights that read each unit, (*S, O).
        incoming: Sum of the sizes of its own weights, (*S, O).

    Returns:
        (*S, O); higher = worth keeping.

    Raises:
        ConfigError: `kind` is none of the six, or lacks what it needs.

    Edge cases:
        1 / `incoming` of a unit without any weights is taken for 0: it hears nobody, so that nothing can be kept of it.

    Source:
        Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024, Equation 1 (contribution), and
        arXiv 2306.13812v3 (adaptable contribution); the released code has all six, with means over the weights where
        the paper has sums, which is the same order within a layer.

    Examples:
        >>> unit_utility("contribution", size=torch.tensor([1.0, 0.0]), outgoing=torch.tensor([2.0, 4.0]))
        tensor([2., 0.])
    """
    if kind not in FACTORS:
        known = ", ".join(repr(each) for each in FACTORS)
        raise ConfigError(f"kind must be {known}, got {kind!r} (unit_utility)")
    given = {"size": size, "deviation": deviation, "outgoing": outgoing, "incoming": incoming}
    factors: list[Scores] = []
    for name, value in given.items():
        if name not in FACTORS[kind]:
            continue
        if value is None:
            raise ConfigError(f"kind={kind!r} needs {name}, got None (unit_utility)")
        factors.append(torch.where(value > 0, 1.0 / value, 0.0) if name == "incoming" else value)
    return functools.reduce(torch.mul, factors)


@final
@dataclass(frozen=True, kw_only=True)
class Utility(LifeAverage):
    """How much a unit has been worth to its readers, on the average of the steps since it was renewed.

        u <- decay * u + (1 - decay) * utility of the step,    score = u / (1 - decay^age)

    See `regrow.functional.unit_utility` and `regrow.functional.debiased`. What units give is read in the training's own
    passes, where they leave for their readers.

    Args:
        kind: One of the six of `unit_utility`; or ``random``, a draw, for a control with the same memory of means.
        decay: Of the averages, within [0, 1). 0: the last step alone.
        means: Remember what units give on the average too, for a renewal that moves it (``Redraw(transfer=True)``).

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        A step in which a unit is not seen, or in which its utility is not finite, counts for nothing: its age is the
        number of steps that count. One that was never seen scores as the best of its layer. A layer whose readers are
        not all known has scores of ``adaptation`` and ``feature_by_input`` alone. The running mean has the same decay,
        and takes the step's own mean in before the distance is measured, as in the released code: at one example a step
        the first distance of a unit's life is 0.
    """

    key: ClassVar[str] = "utility"

    kind: UtilityKind | Literal["random"] = "contribution"
    decay: float = 0.99
    means: bool = False

    def __post_init__(self) -> None:
        check_choice(self.kind, KINDS, name="kind", where="utility")
        check_decay(self.decay, where="utility")

    @property
    def _factors(self) -> frozenset[str]:
        return frozenset() if self.kind == "random" else FACTORS[self.kind]

    @property
    def needs(self) -> frozenset[Signal]:
        """What units give, and the weights on one of their sides or on both."""
        known = {
            "deviation": Signal.DEVIATIONS,
            "outgoing": Signal.READERS,
            "incoming": Signal.WEIGHTS,
        }
        asked = {signal for factor, signal in known.items() if factor in self._factors}
        return frozenset({Signal.MEANS, *asked})

    def of_step(self, observation: Observation, activity: LayerActivity) -> Scores | None:
        """None where one of the factors is not known."""
        if self.kind == "random":
            return activity.size
        weight, outgoing = observation.weight, observation.outgoing
        given = {
            "size": activity.size,
            "deviation": activity.deviation,
            "outgoing": None if outgoing is None else outgoing.double(),
            "incoming": None if weight is None else weight.double().abs().sum(-1),
        }
        found = {factor: given[factor] for factor in self._factors}
        if activity.size is None or any(each is None for each in found.values()):
            return None
        return unit_utility(self.kind, **found)

    def beside(self, activity: LayerActivity) -> Mapping[str, Tensor]:
        """``centre``, the means (O,) that distances are taken from; ``mean.K``, (O, P), at the places of outlet K."""
        found: dict[str, Tensor] = {}
        if "deviation" in self._factors and activity.mean is not None:
            found[_CENTRE] = activity.mean
        for number, given in enumerate(activity.places if self.means else ()):
            if given is not None:
                found[f"{_MEAN}{number}"] = given
        return found

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """The averages, corrected by each unit's own age, or a draw."""
        if self.kind == "random" and self.key in state:
            return RandomScore().score(state, layer=layer, count=count, step=step, seed=seed)
        return super().score(state, layer=layer, count=count, step=step, seed=seed)

    def centre_of(self, state: CriterionState) -> tuple[Tensor | float, Tensor | float]:
        """What distances are measured from in the coming step: the running mean with that step's own in it."""
        if _CENTRE not in state:
            return 0.0, 1.0
        whole = 1.0 - self.decay ** (state["age"] + 1).double()
        return self.decay * state[_CENTRE] / whole, (1.0 - self.decay) / whole

    def means_of(self, state: CriterionState) -> dict[int, Tensor]:
        """What units give on the average, by outlet, corrected by their ages; nan where a unit was never seen."""
        found: dict[int, Tensor] = {}
        for key, value in state.items():
            if key.startswith(_MEAN):
                age = state["age"][:, None].expand(value.shape)
                found[int(key.removeprefix(_MEAN))] = debiased(value, age=age, decay=self.decay)
        return found
