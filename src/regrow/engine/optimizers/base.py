"""What optimizers of a stack have in common: a torch optimizer a network, whose state is views of one memory.

Made and called by the laboratory (`lab/engines/stack.py`), once a training step of a stack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrow.engine.loss import Reduction
from regrow.engine.memory import Rows
from regrow.engine.places import on_device
from regrow.engine.stack import Stack
from regrow.errors import ConfigError

Kind = TypeVar("Kind", bound=Optimizer)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What one step moves at once: neighbouring tensors of one network, or of all; the views made once."""

    value: Tensor  # the parameters, (P,), or (N, P) of all
    grad: Tensor  # their gradients
    states: dict[str, Tensor]  # the optimizer state of each number, by key
    spare: Tensor  # nobody's memory, to work in; empty where that is not needed
    portion: int  # the network, 0 of all
    first: int  # the number of the first of the tensors: all have its count of steps


Move = tuple[Part, "float | Tensor"]
"""A part and its learning rate."""


class StackOptimizer(ABC):
    """Steps all networks of a stack; each has a `torch.optim` optimizer of its own, that holds options and state.

    The step is made here, on whole rows of the stack's memory. The torch optimizers say how (their learning rates are
    read at every step, so that schedulers may write them) and hold the state (its tensors are views), so that they
    can be saved, loaded and edited as always; their own ``step`` need not be called, and may be.
    """

    def __init__(
        self,
        stack: Stack,  # the networks
        optimizers: Sequence[Optimizer],  # of each network, over all its parameters, in one group
        *,
        entries: Sequence[str],  # keys of the optimizer state of each number
        works: bool,  # a step needs spare memory
        counts: bool = False,  # it counts the steps of each tensor, under ``step``
        folded: Collection[str] = (),  # dense layers whose step is part of the backward pass
    ) -> None:
        self.stack = stack
        self.optimizers = tuple(optimizers)
        self.folded = tuple(folded)
        self._counts = counts
        parameters = stack.memory.parameters
        hidden = [f"{path}.{name}" for path in self.folded for name in ("weight", "bias")]
        names = parameters.names
        self._states: dict[str, Rows] = {key: parameters.like() for key in entries}
        flat = parameters.flat
        wanted = flat if stack.batched else flat[0]
        self._spare = torch.empty_like(wanted if works else wanted[..., :0])
        shown = [name for name in names if name not in hidden]
        self._parts = {
            folded: self._cut([parameters.spans(moved)])
            for folded, moved in ((True, shown), (False, names))
        }
        self._steps = torch.zeros(len(stack), len(names), dtype=torch.float32, device="cpu")
        self._agree, self._counted = True, -1
        self._seen: list[object] = [None for _ in optimizers]

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rate of each network."""
        return tuple(float(one.param_groups[0]["lr"]) for one in self.optimizers)

    def train(
        self, images: Tensor, labels: Tensor, *, reduction: Reduction = "mean"
    ) -> tuple[Tensor, Tensor]:
        """One training step, as `Stack.gradients` and a step: loss (N,) and right predictions (N,) before it."""
        rates = self.rates if self.folded else None
        found = self.stack.gradients(
            images, labels, reduction=reduction, rates=rates, folded=self.folded
        )
        self._step(folded=bool(self.folded))
        return found

    def step(self) -> None:
        """One step along the gradients that are there, for all parameters.

        A network whose gradients somebody has taken away makes none, as torch's optimizers have it: its weights, its
        optimizer state and its count of steps keep their bits.
        """
        self._step(folded=False, resting=self.stack.memory.without_gradients())

    def _step(self, *, folded: bool, resting: Sequence[int] = ()) -> None:
        self._adopt(resting)
        with torch.no_grad():
            rates: Sequence[float | Tensor] = self.rates
            portions = self._parts[folded] if self._counts_agree() else self._tensors
            kept: list[tuple[Tensor, Tensor]] = []
            if self.stack.batched:
                flat = self.stack.memory.parameters.flat
                told = torch.tensor(rates, dtype=flat.dtype, device="cpu")
                rates = [on_device(told, flat.device)[:, None]]
                # All that a step of all networks writes of those that rest is written back after it.
                flats = [flat, *(rows.flat for rows in self._states.values())]
                rows = [each[network] for each in flats for network in resting]
                kept, resting = [(row, row.clone()) for row in rows], ()
            self._move(
                [
                    (part, rate)
                    for parts, rate in zip(portions, rates, strict=True)
                    for part in parts
                    if part.portion not in resting
                ]
            )
            for row, before in kept:
                row.copy_(before)

    def _counts_agree(self) -> bool:
        """Whether all tensors of a network have made as many steps: one that was renewed as a whole counts anew."""
        if self._counts and self._steps._version != self._counted:
            # Somebody has written a count since this was asked last: one that renews, or a load.
            self._agree = all(len(set(one)) == 1 for one in self._steps.tolist())
            self._counted = self._steps._version
        return self._agree

    @cached_property
    def _tensors(self) -> list[list[Part]]:
        """As `_parts`, with each tensor for itself."""
        parameters = self.stack.memory.parameters
        return self._cut([parameters.spans([name]) for name in parameters.names])

    def _cut(self, cuts: Sequence[Sequence[slice]]) -> list[list[Part]]:
        """The parts of each network, or of all, by the spans of each cut, whose number is that of its first tensor."""
        memory, batched = self.stack.memory, self.stack.batched
        portions = [slice(None)] if batched else range(len(self.stack))
        return [
            [
                Part(
                    value=memory.parameters.flat[at, span],
                    grad=memory.gradients.flat[at, span],
                    states={key: rows.flat[at, span] for key, rows in self._states.items()},
                    spare=self._spare[..., span],
                    portion=portion,
                    first=first,
                )
                for first, spans in enumerate(cuts)
                for span in spans
            ]
            for portion, at in enumerate(portions)
        ]

    @abstractmethod
    def _move(self, moves: Sequence[Move]) -> None:
        """Move parts of several portions; the rate is (N, 1) where all networks are one portion."""

    def _adopt(self, resting: Sequence[int]) -> None:
        """Make each optimizer's state views of the memory, with its numbers, at the start and after a load; count."""
        for network, optimizer in enumerate(self.optimizers):
            # `load_state_dict` puts another dictionary in the place of the state, with tensors of its own: what was
            # loaded is copied into the memory, and the views are put back. Otherwise the step would go on from the
            # state of before.
            if self._seen[network] is not optimizer.state:
                self._adopt_one(network, optimizer)
                self._seen[network] = optimizer.state
        if self._counts:
            known = self._counted == self._steps._version
            self._steps += 1
            for network in resting:
                self._steps[network] -= 1
            if (
                known
            ):  # a step more of all tensors of a network changes nothing in whether they agree
                self._counted = self._steps._version

    def _adopt_one(self, network: int, optimizer: Optimizer) -> None:
        parameters: dict[str, Tensor] = dict(self.stack.models[network].named_parameters())
        for number, name in enumerate(self.stack.memory.parameters.names):
            state: dict[str, Any] = optimizer.state[parameters[name]]
            places = {key: rows.all(name)[network] for key, rows in self._states.items()}
            if self._counts:
                places["step"] = self._steps[network, number]
            for key, place in places.items():
                known = state.get(key)
                # No state is state 0, as before a first step.
                place.copy_(torch.as_tensor(0 if known is None else known, device=place.device))
                state[key] = place


def fresh(
    kind: Callable[..., Kind], stack: Stack, *, lr: float | Sequence[float], **options: Any
) -> list[Kind]:
    """A torch optimizer for each network; one learning rate for all of them, or as many as there are."""
    rates = [lr] * len(stack) if isinstance(lr, int | float) else lr
    if len(rates) != len(stack):
        raise ConfigError(f"lr must be one number or {len(stack)}, got {len(rates)}")
    return [
        kind(model.parameters(), lr=float(rate), **options)
        for model, rate in zip(stack.models, rates, strict=True)
    ]
