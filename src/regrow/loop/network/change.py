"""NetworkChange: what a recipe does to all of a network's parameters at once, in one training.

The stepper says when. What the recipe's network renewal makes of each parameter that is trained is written into the
model, its copies and, where the network is another one afterwards, the optimizer's state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, final

import torch
from torch import Tensor

from regrow.history import Report
from regrow.loop.host import Host
from regrow.loop.network.fresh import FreshNetwork
from regrow.loop.network.parameters import KnownParameter
from regrow.loop.optimizers import OptimizerWatch
from regrow.loop.renewer import Renewer
from regrow.loop.start.beginnings import check_first
from regrow.renewal import Edit
from regrow.renewal.network import NetworkNeed, NetworkRenewal, NetworkTensor
from regrow.schedule import BoundSchedule


@final
@dataclass(eq=False)
class NetworkChange:
    """Changes the network at its times."""

    renewal: NetworkRenewal  # what becomes of a parameter
    schedule: BoundSchedule  # after which steps
    at_boundaries: bool  # whether it acts where a boundary is told, and not after steps
    known: Sequence[KnownParameter]  # the parameters that may be changed
    # Draws what a fresh network has in their place; None where nobody asks.
    fresh: FreshNetwork | None
    host: Host  # the model in its training
    watches: Sequence[OptimizerWatch]  # the optimizers
    renewer: Renewer  # who renews filters of the same model
    resets: bool  # whether the optimizer's state begins anew with the network
    seed: int  # for random numbers
    # Changes so far, in a dry run those that would have been made. Part of the random numbers' key.
    count: int = field(init=False, default=0)
    # What each parameter began with, where the renewal must know.
    first: dict[str, Tensor] = field(init=False, default_factory=dict[str, Tensor])

    def __post_init__(self) -> None:
        if NetworkNeed.FIRST in self.renewal.needs:
            self.first = {each.name: each.parameter.detach().clone() for each in self.known}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left alone."""
        unknown = ", ".join(() if self.fresh is None else self.fresh.unknown)
        note = f"{unknown}: left alone, for how a fresh network draws them is not known"
        return (note,) if unknown else ()

    def boundary_(self, report: Report) -> None:
        """The task changes, between two steps."""
        if self.at_boundaries:
            self._change_(report)

    def step_made_(self, step: int, report: Report) -> None:
        """A step has been made."""
        if not self.at_boundaries and step in self.schedule.steps:
            self._change_(report)

    def scaled(self, factors: Mapping[str, float]) -> None:
        """Layers were scaled before the first step, by path: that is what they begin with."""
        for each in self.known:
            if self.first and each.filters is not None:
                self.first[each.name] *= factors.get(each.filters.path, 1.0)

    @torch.no_grad()
    def _change_(self, report: Report) -> None:
        number, self.count = self.count, self.count + 1
        report.network_changes = self.count
        if self.host.dry_run:
            return
        # All are made before the first is written: an optimizer whose state cannot be edited is an error then.
        found = [
            (tensor, value)
            for tensor in self._tensors(number)
            if (value := self.renewal.renewed(tensor)) is not None
        ]
        edits = [
            Edit(
                name=tensor.name,
                mask=torch.ones((), dtype=torch.bool, device=value.device).expand(value.shape),
                value=value,
            )
            for tensor, value in found
        ]
        begins = self.resets and self.renewal.jumps
        surgeons = [each.surgeon for each in self.watches if each.surgeon and begins]
        targets = [surgeon.check(edits) for surgeon in surgeons]
        for companion in self.host.companions if self.renewal.jumps else ():
            self._move_copy_(companion.tensors(), [tensor for tensor, _ in found])
        for tensor, value in found:
            tensor.value.copy_(value)
        for surgeon, mine in zip(surgeons, targets, strict=True):
            surgeon.begin(mine)
        for holder in self.renewer.holders:
            holder.adopt_(edits, self.renewer.tensors)

    def _move_copy_(self, copied: Mapping[str, Tensor], tensors: Sequence[NetworkTensor]) -> None:
        """A copy goes the same way, from where it is."""
        for tensor in tensors:
            own = copied.get(tensor.name)
            if own is not None:
                value = self.renewal.renewed(replace(tensor, value=own.detach()))
                if value is not None:
                    own.copy_(value)

    def _tensors(self, number: int) -> Iterator[NetworkTensor]:
        """The parameters that are trained now, one after the other."""
        jumps, fresh = self.renewal.jumps, self.fresh
        trained = self.host.working.trained.now() if jumps else frozenset()
        rates = {
            id(parameter): group.get("lr", 0.0)
            for watch in self.watches
            for group in watch.optimizer.param_groups
            for parameter in group["params"]
        }
        for each in self.known:
            parameter = each.parameter
            # As with weight decay: what has no part in a step is not moved by it.
            takes_part = each.name in trained if jumps else parameter.grad is not None
            if takes_part and id(parameter) in rates:
                yield NetworkTensor(
                    name=each.name,
                    value=parameter.detach(),
                    filters=each.filters,
                    of_norm=each.of_norm,
                    rate=rates[id(parameter)],
                    first=self._first_of(each),
                    draw=None if fresh is None else self._draw_of(fresh, each, number),
                )

    def _first_of(self, each: KnownParameter) -> Tensor | None:
        first = self.first.get(each.name)
        if first is not None and first.device != each.parameter.device:
            first = self.first[each.name] = first.to(each.parameter.device)  # the model was moved
        return first

    def _draw_of(
        self, fresh: FreshNetwork, each: KnownParameter, number: int
    ) -> Callable[[], Tensor | None]:
        """Once, though copies of the model ask too."""
        value = each.parameter.detach()
        return cache(lambda: fresh.draw(each.name, value, seed=self.seed, occasion=number))

    def state_dict(self) -> dict[str, Any]:
        """What is not in the model, and is needed for changes to come."""
        return {
            "changes": self.count,
            "first": dict(self.first),
            **({} if self.fresh is None else self.fresh.state_dict()),
        }

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse what `load_state_dict` cannot work with."""
        check_first(state, self.first)

    def load_state_dict(self, state: Mapping[str, Any], report: Report) -> None:
        """Resume."""
        self.count = report.network_changes = int(state["changes"])
        for name, own in self.first.items():
            self.first[name] = state["first"][name].to(own, copy=True)
        if self.fresh is not None:
            self.fresh.load_state_dict(state)
