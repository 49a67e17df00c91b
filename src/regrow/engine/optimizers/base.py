"""What optimizers of a stack have in common: a torch optimizer a network, whose state is views of one memory.

Made and called by the laboratory (`lab/engines/stack.py`), once a training step of a stack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrow.engine.loss import Reduction
from regrow.engine.memory import Rows
from regrow.engine.places import on_device
from regrow.engine.stack import Stack
from regrow.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one step moves at once: neighbouring tensors of one network, or of all; the views made once.

    Attributes:
        value: The parameters, (P,), or (N, P) of all.
        grad: Their gradients.
        states: The optimizer state of each number, by key.
        spare: Memory to work in, that belongs to nobody; empty where the optimizer has asked for none.
        first: The number of the first of the tensors: all have its count of steps.
    """

    value: Tensor
    grad: Tensor
    states: dict[str, Tensor]
    spare: Tensor
    first: int = 0


Move = tuple[Part, "float | Tensor", int]
"""A part, its learning rate, and the number of its portion."""


class StackOptimizer(ABC):
    """Steps all networks of a stack; each has a `torch.optim` optimizer of its own, that holds options and state.

    The step is made here, on whole rows of the stack's memory. The torch optimizers say how (their learning rates are
    read at every step, so that schedulers may write them) and hold the state (its tensors are views), so that they
    can be saved, loaded and edited as always; their own ``step`` need not be called, and may be.

    Args:
        stack: The networks.
        optimizers: Of each network, over all its parameters, in one group.
        folded: Paths of dense layers whose step is part of the backward pass in `train`.

    Attributes:
        optimizers: Of each network.
        folded: The paths.
    """

    entries: ClassVar[tuple[str, ...]] = ()
    """Keys of the optimizer state of each number."""
    counts: ClassVar[bool] = False
    """It counts the steps of each tensor, under ``step``."""

    def __init__(
        self, stack: Stack, optimizers: Sequence[Optimizer], *, folded: Collection[str] = ()
    ) -> None:
        self.stack = stack
        self.optimizers = tuple(optimizers)
        self.folded = tuple(folded)
        parameters = stack.memory.parameters
        names = [f"{path}.{name}" for path in self.folded for name in ("weight", "bias")]
        spans = {True: parameters.spans(names), False: parameters.spans()}
        self._states: dict[str, Rows] = {key: parameters.like() for key in self._used()}
        flat = parameters.flat
        wanted = flat if stack.batched else flat[0]
        self._spare = torch.empty_like(wanted if self._works() else wanted[..., :0])
        self._parts = {
            kind: [self._parts_of(at, spans) for at in self._portions()]
            for kind, spans in spans.items()
        }
        self._steps = torch.zeros(
            len(stack), len(parameters.names), dtype=torch.float32, device="cpu"
        )
        self._agree, self._counted = True, -1
        self._seen: list[object] = [None for _ in optimizers]
        self._started = [False for _ in optimizers]

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rate of each network."""
        return tuple(float(one.param_groups[0]["lr"]) for one in self.optimizers)

    def train(
        self, images: Tensor, labels: Tensor, *, reduction: Reduction = "mean"
    ) -> tuple[Tensor, Tensor]:
        """One training step: gradients, and a step along them.

        Args:
            images: As for `Stack.gradients`.
            labels: Likewise.
            reduction: Of the loss.

        Returns:
            Loss (N,) and number of right predictions (N,), before the step.
        """
        rates = self.rates if self.folded else None
        found = self.stack.gradients(
            images, labels, reduction=reduction, rates=rates, folded=self.folded
        )
        self._step(folded=bool(self.folded))
        return found

    def step(self) -> None:
        """One step along the gradients that are there, for all parameters.

        Edge cases:
            A network whose gradients somebody has taken away makes none, as torch's optimizers have it: its weights,
            its optimizer state and its count of steps keep their bits.
        """
        self._step(folded=False, resting=self.stack.memory.without_gradients())

    def _step(self, *, folded: bool, resting: Sequence[int] = ()) -> None:
        self._adopt(resting)
        with torch.no_grad():
            rates: Sequence[float | Tensor] = self.rates
            if self.stack.batched:
                flat = self._flat()
                told = torch.tensor(rates, dtype=flat.dtype, device="cpu")
                rates = [on_device(told, flat.device)[:, None]]
            portions = self._parts[folded] if self._counts_agree() else self._tensors
            batched = self.stack.batched
            kept = self._rows(resting) if batched else []
            stay = () if batched else resting
            self._move(
                [
                    (part, rate, number)
                    for number, (parts, rate) in enumerate(zip(portions, rates, strict=True))
                    if number not in stay
                    for part in parts
                ]
            )
            for row, before in kept:
                row.copy_(before)

    def _rows(self, networks: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """All that a step of all networks writes of some of them, and copies of it."""
        flats = [self._flat(), *(rows.flat for rows in self._states.values())]
        rows = [flat[network] for flat in flats for network in networks]
        return [(row, row.clone()) for row in rows]

    def _counts_agree(self) -> bool:
        """Whether all tensors of a network have made as many steps: one that was renewed as a whole counts anew."""
        if self.counts and self._steps._version != self._counted:
            # Somebody has written a count since this was asked last: one that renews, or a load.
            self._agree = all(len(set(one)) == 1 for one in self._steps.tolist())
            self._counted = self._steps._version
        return self._agree

    @cached_property
    def _tensors(self) -> list[list[Part]]:
        """As `_parts`, with each tensor for itself."""
        parameters = self.stack.memory.parameters
        spans = [
            parameters.spans([other for other in parameters.names if other != name])
            for name in parameters.names
        ]
        return [
            [
                replace(part, first=number)
                for number, span in enumerate(spans)
                for part in self._parts_of(at, span)
            ]
            for at in self._portions()
        ]

    def _portions(self) -> Sequence[int | slice]:
        """What is moved at once: each network, or all."""
        return [slice(None)] if self.stack.batched else range(len(self.stack))

    def _parts_of(self, at: int | slice, spans: Sequence[slice]) -> list[Part]:
        memory = self.stack.memory
        return [
            Part(
                value=memory.parameters.flat[at, span],
                grad=memory.gradients.flat[at, span],
                states={key: rows.flat[at, span] for key, rows in self._states.items()},
                spare=self._spare[..., span],
            )
            for span in spans
        ]

    def _flat(self) -> Tensor:
        return self.stack.memory.parameters.flat

    def _used(self) -> tuple[str, ...]:
        """Which of `entries` these options need."""
        return self.entries

    def _works(self) -> bool:
        """Whether these options need spare memory."""
        return True

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
        if self.counts:
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
            for key, rows in self._states.items():
                place, known = rows.of(network, name), state.get(key)
                # No state is state 0, as before a first step.
                place.zero_() if known is None else place.copy_(known)
                state[key] = place
            if self.counts:
                count, known = self._steps[network, number], state.get("step")
                count.zero_() if known is None else count.copy_(
                    torch.as_tensor(known, device="cpu")
                )
                state["step"] = count


def rates_of(lr: float | Sequence[float], stack: Stack) -> tuple[float, ...]:
    """A learning rate for each network: one for all of them, or as many as there are."""
    if isinstance(lr, int | float):
        return tuple(float(lr) for _ in stack.models)
    if len(lr) != len(stack):
        raise ConfigError(f"lr must be one number or {len(stack)}, got {len(lr)}")
    return tuple(float(one) for one in lr)
