"""One of several networks that graft: what it lends, and how it takes what it is lent.

Called by the `Grafter`. Whose share a tensor takes says `partners/plan.py`, how large it is `partners/shares.py`, and
`partners/mixing.py` blends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.graph.slices import rows
from regrow.history import Grafted
from regrow.loop.optimizers import TrainedTensors
from regrow.partners.mixing import apart, length, mix_all_, mix_and_measure_
from regrow.partners.parcels import common
from regrow.partners.plan import Plan, Unit, blendable
from regrow.partners.shares import shares, spread_of
from regrow.partnership import PartnerRecipe
from regrow.surgery import begin_slow_

_STATE: Final = "optimizer"
"""First part of the names under which partners lend each other optimizer state."""


class Measurement(NamedTuple):
    """What a network reports of a layer's weight."""

    information: float  # what the layer carries
    length: float  # root of the sum of its squares


@dataclass(frozen=True, kw_only=True)
class Loan:
    """What a network lends its partner: all as it was before anybody took anything."""

    tensors: Mapping[str, Tensor]  # by name; the optimizer state among them where it is grafted
    # What it reports of each measured weight, by the weight's name.
    measured: Mapping[str, Measurement]


@final
class Network:
    """A bare model with its optimizers, as a partner of others."""

    def __init__(
        self, recipe: PartnerRecipe, model: nn.Module, optimizers: Sequence[Optimizer], plan: Plan
    ) -> None:
        self._recipe = recipe  # how they graft
        self._optimizers = tuple(optimizers)  # those that train it
        self.plan = plan  # whose share each of its tensors takes
        self.tensors = blendable(model)  # what it can lend, by name, alive
        self._spread = spread_of(plan, self.tensors)
        self._trained = TrainedTensors(
            optimizers,
            dict(model.named_parameters(remove_duplicate=False)),
            norms=[norm for unit in plan.units for norm in unit.norms],
        )

    @property
    def weights(self) -> list[str]:
        """Names of the weights that are measured, in the order of the plan."""
        return [unit.weight for unit in self.plan.units]

    @property
    def frozen(self) -> tuple[str, ...]:
        """The tensors that nobody trains now, by name: they keep their bits."""
        writable = self._trained.writable(self.tensors)
        return tuple(name for name in self.tensors if name not in writable)

    # ---- lending

    @torch.no_grad()
    def measured(self) -> dict[str, Measurement]:
        """What each layer carries now, by its weight's name, in the order of the plan."""
        return {
            # One after the other, while a layer is in the processor's cache.
            unit.weight: Measurement(
                information=self._recipe.weigh.measure(self._rows(unit)).item(),
                length=length(self.tensors[unit.weight]),
            )
            for unit in self.plan.units
        }

    def lend(self) -> dict[str, Tensor]:
        """All that the partner may take from, by name, alive; the optimizer state of each entry, if it is grafted."""
        lent = dict(self.tensors)
        if self._recipe.memory == "graft":
            lent |= {
                f"{_STATE}.{name}.{key}": value
                for name, tensor in self.tensors.items()
                for key, value in self._state_of(tensor)
                if isinstance(value, Tensor) and value.shape == tensor.shape and value.ndim
            }
        return lent

    def _rows(self, unit: Unit) -> Tensor:
        weight = self.tensors[unit.weight].detach()
        return weight.reshape(1, -1) if unit.filters is None else rows(weight, unit.filters)

    # ---- taking

    @torch.no_grad()
    def take(self, lent: Loan, *, measured: Mapping[str, Measurement]) -> list[Grafted]:
        """Blend what a partner lends into this network; an event for each unit that both have, without its step."""
        # What is trained now is asked now: a user may freeze and unfreeze between two grafts.
        there, frozen = common(lent.tensors, self.tensors), set(self.frozen)
        units, nothing = self.plan.units, Measurement(information=math.nan, length=math.nan)
        mine = [measured[unit.weight] for unit in units]
        theirs = [
            lent.measured.get(unit.weight, nothing) if unit.weight in there else nothing
            for unit in units
        ]
        layers, kept = shares(
            self.plan,
            self._recipe.weigh,
            spread=self._spread,
            # A layer whose weight nobody trains is left alone, and what belongs to its filters with it.
            information=(
                _row(
                    nothing if unit.weight in frozen else each
                    for unit, each in zip(units, mine, strict=True)
                ),
                _row(theirs),
            ),
            own=self.tensors,
            partner=there,
            multiply=self._recipe.mode == "reference",
        )
        blended = {name: share for name, share in kept.items() if name not in frozen}
        ways: dict[str, float] = {}
        mixed: list[tuple[Tensor, Tensor, Tensor]] = []
        for unit in units:
            weight, share = unit.weight, blended.get(unit.weight)
            if weight in there:
                pair = self.tensors[weight], there[weight]
                # How far apart they were has to be measured before they are mixed.
                ways[weight] = apart(*pair) if share is None else mix_and_measure_(*pair, share)
        for name, share in blended.items():
            if name not in ways:
                mixed.append((self.tensors[name], there[name], share))
            mixed.extend(self._state_to_mix(name, share, lent))
        mix_all_(mixed)
        if self._recipe.memory == "keep":
            self._slow_weights_begin_at_the_blend_(kept)
        of_units: list[float] = layers.tolist()
        return [
            Grafted(
                layer=unit.name,
                share=share,
                information=own.information,
                partner_information=partner.information,
                distance=_relative(ways[unit.weight], own.length + partner.length),
            )
            for unit, share, own, partner in zip(units, of_units, mine, theirs, strict=True)
            if unit.weight in there
        ]

    def _slow_weights_begin_at_the_blend_(self, names: Iterable[str]) -> None:
        """Slow weights are weights, not state: those of before the blend would undo it at their next step."""
        for name in names:
            tensor = self.tensors[name]
            for optimizer in self._optimizers:
                if isinstance(tensor, nn.Parameter) and tensor in optimizer.state:
                    begin_slow_(
                        tensor,
                        optimizer.state[tensor],
                        torch.ones((), dtype=torch.bool, device="cpu"),
                    )

    def _state_to_mix(
        self, name: str, share: Tensor, lent: Loan
    ) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """The optimizer state of a tensor that is blended, with the partner's; or it is dropped."""
        tensor = self.tensors[name]
        if self._recipe.memory == "reset":
            for optimizer in self._optimizers:
                _forget(optimizer, tensor)
        elif self._recipe.memory == "graft":
            for key, value in self._state_of(tensor):
                partner = lent.tensors.get(f"{_STATE}.{name}.{key}")
                if partner is not None and partner.shape == value.shape:
                    yield value, partner, share

    def _state_of(self, tensor: Tensor) -> Iterable[tuple[str, Any]]:
        for optimizer in self._optimizers:
            if tensor in optimizer.state:
                yield from optimizer.state[tensor].items()


def _row(measured: Iterable[Measurement]) -> Tensor:
    return torch.tensor([each.information for each in measured], dtype=torch.float64, device="cpu")


def _relative(way: float, lengths: float) -> float:
    """The difference's length over the mean of both lengths."""
    return 2.0 * way / lengths if lengths else 0.0


def _forget(optimizer: Optimizer, tensor: Tensor) -> None:
    """Leave an optimizer with what it has of a parameter before its first step."""
    if isinstance(optimizer, torch.optim.Adagrad):  # makes its state before the first step
        for group in optimizer.param_groups:
            if any(each is tensor for each in group["params"]):
                optimizer.state[tensor]["step"].zero_()
                optimizer.state[tensor]["sum"].fill_(group["initial_accumulator_value"])
        return
    optimizer.state.pop(tensor, None)


def graft_ring(networks: Sequence[Network]) -> list[list[Grafted]]:
    """Let every network take from the one before it, the first from the last, all from the weights as they were."""
    # All before any: a network that has taken carries other information than the one it is compared with.
    measured = [network.measured() for network in networks]
    # From the last to the first: each takes from one that has not changed yet, but for the first.
    last = {name: tensor.detach().clone() for name, tensor in networks[-1].lend().items()}
    found: list[list[Grafted]] = [[] for _ in networks]
    for k in range(len(networks) - 1, -1, -1):
        lent = Loan(tensors=last if k == 0 else networks[k - 1].lend(), measured=measured[k - 1])
        found[k] = networks[k].take(lent, measured=measured[k])
    return found
