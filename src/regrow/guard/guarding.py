"""Guarding: a guard in one training, with the copies that it needs and what it counts.

Made of a `Guard` by `loop/protection`; called right before and right behind an optimizer's step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, cast, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import StateError
from regrow.graph import Wiring
from regrow.guard.base import Guard
from regrow.guard.bounded import StepBounds
from regrow.guard.groups import alone, parts_of
from regrow.guard.poison import gradient_lengths, poisons
from regrow.guard.step_parameters import Part, StepParameters

_RARELY: Final = 100
"""Steps between two looks at what an accelerator has counted."""

NETWORK: Final = "network"
"""What hits are counted under by a guard that looks at the whole."""


@final
class Guarding:
    """A guard at the steps of one training: `before_step_` and `after_step_` around each step of each optimizer.

    Attributes:
        guard: What is done.
        refused: Steps that were not made, since their gradients would have spoilt the optimizer.
        news: Whether `hits` or `refused` may have changed since it was last set to False. On an accelerator it is set
            now and then alone, for to look at the hits is to wait for it.

    Args:
        guard: As above.
        model: The bare model.
        wiring: What was traced of it.
        reduce: Makes the mean over all ranks of a tensor, float64 on the CPU, so that all refuse a step alike. None:
            one process, or ranks whose gradients are the same bits.
    """

    def __init__(
        self,
        guard: Guard,
        model: nn.Module,
        wiring: Wiring,
        *,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.guard = guard
        self.refused = 0
        self.news = False
        self._looks = 0
        self._reduce = reduce
        self._parts = parts_of(model, wiring)
        groups = {part.group.number: part.group.name for part in self._parts.values()}
        self._names = list(groups.values()) if guard.by_layer else [NETWORK]
        self._hits = torch.zeros(len(self._names), dtype=torch.int64, device="cpu")
        self._moved: dict[int, tuple[list[Tensor], StepParameters]] = {}  # by optimizer
        self._bounds: dict[int, StepBounds] = {}
        self._copies: dict[Tensor, Tensor] = {}
        self._hidden: list[tuple[Tensor, Tensor]] = []
        self._now: tuple[StepParameters, list[Tensor]] | None = None

    @property
    def hits(self) -> dict[str, int]:
        """By layer, the steps in which the guard had something to do there; those with none are left out."""
        counts = cast("list[int]", self._hits.tolist())
        return {name: count for name, count in zip(self._names, counts, strict=True) if count}

    @torch.no_grad()
    def before_step_(self, optimizer: Optimizer) -> bool:
        """Whether there is a step to be made. Gradients are complete, and multiplied by no scaler but of a fused step.

        They are clipped in place. If they would spoil the optimizer, all of them are taken away from it until
        `after_step_`.
        """
        self._put_back_()
        self._now = None
        parameters = [
            each
            for group in optimizer.param_groups
            for each in group["params"]
            if each.grad is not None
        ]
        scale: Tensor | None = getattr(optimizer, "grad_scale", None)
        moved = self._of(optimizer, parameters)
        grads = [] if moved is None else [cast("Tensor", each.grad) for each in moved.parameters]
        lengths: list[float] | None = None
        if self.guard.skip_poison:
            lengths = gradient_lengths(grads, scale=scale) if grads else []
            of = [] if moved is None else moved.parameters
            if self._agreed(poisons(optimizer, of, grads, lengths, scale=scale)):
                return self._hide_(optimizer, parameters)
        if moved is None:
            return True
        self._count(moved, self.guard.clip_(moved, grads, scale=scale))
        before: list[Tensor] = []
        if self.guard.compares:
            if lengths is not None and moved.on_cpu:
                bounds = self._bounds_of(optimizer)
                for anew in (False, True):
                    most = bounds.longest(moved.parameters, lengths, anew=anew)
                    if most is None:
                        break
                    if self.guard.within(moved, most):
                        return True
            before = self._before(moved)
            torch._foreach_copy_(before, moved.parameters)  # pyright: ignore[reportPrivateUsage]
        self._now = moved, before
        return True

    @torch.no_grad()
    def after_step_(self, optimizer: Optimizer) -> None:
        """Look at what the step has made, corrected where it is: limit it, or put hidden gradients back."""
        self._put_back_()
        if id(optimizer) in self._bounds:
            self._bounds[id(optimizer)].stepped()
        now, self._now = self._now, None
        if now is not None:
            self._count(now[0], self.guard.limit_(*now))

    def state_dict(self) -> dict[str, Any]:
        """What was counted; loadable with ``weights_only=True``."""
        return {"hits": self.hits, "refused": self.refused}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was counted; a StateError where it has hits of layers that are not here."""
        unknown = sorted(set(state["hits"]) - set(self._names))
        if unknown:
            raise StateError(f"the saved guard has hits of {', '.join(unknown)}, not in this model")
        counts = [int(state["hits"].get(name, 0)) for name in self._names]
        self._hits = torch.tensor(counts, dtype=torch.int64, device="cpu")
        self.refused = int(state["refused"])

    def _agreed(self, found: bool) -> bool:
        """Whether one of the ranks has found it. Every rank must call it, whatever it has."""
        if self._reduce is None:
            return found
        told = torch.tensor([float(found)], dtype=torch.float64, device="cpu")
        return bool(self._reduce(told)[0] > 0)

    def _hide_(self, optimizer: Optimizer, parameters: list[Tensor]) -> bool:
        """Take the gradients away, unless the optimizer passes the step by on its own: a fused one under a scaler."""
        found = getattr(optimizer, "found_inf", None)
        if found is not None and bool(found):
            return True
        self.refused += 1
        self.news = True
        self._hidden = [(each, cast("Tensor", each.grad)) for each in parameters]
        for each in parameters:
            each.grad = None
        return False

    def _put_back_(self) -> None:
        """Gradients that were hidden, unless somebody has made new ones since."""
        hidden, self._hidden = self._hidden, []
        for parameter, grad in hidden:
            if parameter.grad is None:
                parameter.grad = grad

    def _of(self, optimizer: Optimizer, parameters: list[Tensor]) -> StepParameters | None:
        """What this step moves: as at the last one, where the same parameters have a gradient."""
        known = self._moved.get(id(optimizer))
        if (
            known is not None
            and len(known[0]) == len(parameters)
            and all(map(operator.is_, known[0], parameters))
        ):
            return known[1]
        parts = [self._part(each) for each in parameters if each.numel()]
        if not parts:
            return None
        moved = StepParameters(parts)
        self._moved[id(optimizer)] = parameters, moved
        return moved

    def _bounds_of(self, optimizer: Optimizer) -> StepBounds:
        """What is known of its steps beforehand."""
        if id(optimizer) not in self._bounds:
            self._bounds[id(optimizer)] = StepBounds(optimizer)
        return self._bounds[id(optimizer)]

    def _part(self, parameter: Tensor) -> Part:
        """Of a parameter that is not the model's (a loss has some) one of its own."""
        if parameter not in self._parts:
            name = f"a parameter of shape {tuple(parameter.shape)} that is not the model's"
            number = 1 + max((each.group.number for each in self._parts.values()), default=-1)
            fresh = parameter.numel() ** 0.5
            self._parts[parameter] = alone(parameter, number=number, name=name, fresh=fresh)
            if self.guard.by_layer:
                self._names.append(name)
                self._hits = torch.cat([self._hits, self._hits.new_zeros(1)])
        return self._parts[parameter]

    def _before(self, moved: StepParameters) -> list[Tensor]:
        """The copies, in memory that is used again at every step."""
        copies = self._copies
        for each in moved.parameters:
            if each not in copies or copies[each].device != each.device:
                copies[each] = torch.empty_like(each)
        return [copies[each] for each in moved.parameters]

    def _count(self, moved: StepParameters, hit: Tensor | None) -> None:
        """On the device, where nobody waits for it."""
        if hit is None:
            return
        self._looks += 1
        self.news |= moved.on_cpu or self._looks % _RARELY == 1
        if hit.device != self._hits.device:
            self._hits = self._hits.to(hit.device)
        if not self.guard.by_layer:
            self._hits += hit
            return
        numbers = torch.tensor([each.number for each in moved.groups], device=hit.device)
        self._hits.index_add_(0, numbers, hit.to(self._hits.dtype))
