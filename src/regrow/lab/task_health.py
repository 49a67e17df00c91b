"""How the units of a network are at the end of a task: who is dead, who is dormant, how large the weights are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.criteria import Observation, Signal
from regrow.errors import ConfigError, TraceError
from regrow.graph import Filters, Wiring, trace
from regrow.graph.slices import rows
from regrow.health import LayerHealth, inspect
from regrow.health.data import Batch
from regrow.health.gradients import Loss
from regrow.lab.assembly import acted_on
from regrow.lab.measure import finite_or_none
from regrow.loop.measure.probe import Probe
from regrow.study.task_records import HealthRecord

DORMANT: Final = 0.1
"""A unit is dormant if it gives at most this share of its layer's mean: ReDo's tau."""

EXAMPLES: Final = 512
"""Images that are looked at, the first of the task's test images."""


class TaskHealth:
    """Looks at the layers that recipes may act on, in evaluation mode, where the network hears them.

    With `ranks` besides at what `regrow.inspect` finds: ranks of what the units give, units that rarely fire, steps.
    """

    def __init__(self, model: nn.Module, example: Tensor, *, ranks: bool = False) -> None:
        kinds = acted_on(model) or ("conv", "linear")
        self._filters: tuple[Filters, ...] = ()
        self._wiring: Wiring | None = None
        self._probe: tuple[nn.Module, Probe] | None = None
        self._shown: Tensor = example
        # A network that cannot be followed is trained all the same, and has no records.
        with suppress(TraceError):
            wiring = trace(model, example)
            self._filters = wiring.renewable(layers=kinds)
            self._wiring = wiring if ranks else None
        # Number of units by layer, in the network's order.
        self.layers = {filters.path: filters.count for filters in self._filters}

    def look(
        self,
        model: nn.Module,
        shown: Batch,
        optimizer: Optimizer,
        *,
        task: int,
        loss: Loss | None = None,
    ) -> Iterator[HealthRecord]:
        """Look at a network by test images of a task; a layer that no place hears apart from others has no shares."""
        if not self._filters:
            return
        more: Mapping[str, LayerHealth] = {}
        if self._wiring is not None:
            asked: dict[str, Any] = {"optimizer": optimizer, "wiring": self._wiring}
            asked |= {"targets": shown.targets, "loss": loss}
            more = {each.path: each for each in inspect(model, shown.inputs, **asked).layers}
        seen: dict[str, Observation] = {}
        with suppress(ConfigError):  # no layer can be heard apart
            seen = self._heard(model, shown.inputs, task=task)
        weights = dict(model.named_parameters())
        for filters in self._filters:
            heard = seen[filters.path].heard if filters.path in seen else None
            dead = dormant = None
            if heard is not None:
                dead = _share(heard.zeros == 1)
                # Not `relative_activity`, for which nobody is dormant in a layer that gives nothing at all.
                dormant = _share(heard.activation <= DORMANT * heard.activation.mean())
            own = more.get(filters.path)
            weight = rows(weights[filters.weight].detach(), filters).double()
            yield HealthRecord(
                task=task,
                layer=filters.path,
                dead=dead,
                dormant=dormant,
                weight_norm=finite_or_none(math.sqrt(float(weight.square().sum()))),
                effective_rank=own.numbers.get("effective_rank") if own else None,
                srank=own.numbers.get("srank") if own else None,
                rare=own.share("rare") if own else None,
                step=own.numbers.get("step") if own else None,
            )

    def _heard(self, model: nn.Module, shown: Tensor, *, task: int) -> dict[str, Observation]:
        """What the units give on some images; where they are heard is found once for a network."""
        self._shown = shown
        if self._probe is None or self._probe[0] is not model:
            self._probe = None
            signals = [Signal.ACTIVATIONS]
            self._probe = model, Probe(model, self._filters, lambda: self._shown, signals=signals)
        nothing = {
            each.path: Observation(count=each.count, groups=each.groups) for each in self._filters
        }
        return self._probe[1].complete(nothing, step=task)


def _share(marked: Tensor) -> float:
    return float(marked.to(torch.float64).mean())
