"""Stochastic gradient descent of a stack: momentum, Nesterov, weight decay, a learning rate a network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import final

import torch
from torch import Tensor

from regrow.engine.optimizers.base import Move, StackOptimizer, fresh
from regrow.engine.stack import Stack
from regrow.errors import ConfigError


@final
class SGD(StackOptimizer):
    """`torch.optim.SGD` for each network of a stack, in the same order of operations.

        g <- gradient + decay * w;     v <- momentum * v + g;     w <- w - lr * (v, or g + momentum * v with Nesterov)

    Args:
        stack: The networks.
        lr: Learning rate, of all or of each.
        momentum: Share of the last step's direction, 0 or more.
        weight_decay: Strength of the pull to 0.
        nesterov: Look ahead.
        folded: Paths of dense layers (`Stack.program.dense`) that take their step inside `train`'s backward pass, as
            the product's own accumulation: no gradient is written, and none can be read. Plain SGD only.
        optimizers: Of each network, made with these options; None: fresh ones.

    Raises:
        ConfigError: `folded` with momentum or weight decay, or a wrong number of learning rates.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        lr: float | Sequence[float],
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        folded: Collection[str] = (),
        optimizers: Sequence[torch.optim.SGD] | None = None,
    ) -> None:
        if folded and (momentum or weight_decay):
            raise ConfigError("folded layers need plain SGD: momentum 0 and weight_decay 0")
        self._momentum, self._decay, self._nesterov = momentum, weight_decay, nesterov
        options = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(
            stack,
            optimizers or fresh(torch.optim.SGD, stack, lr=lr, **options),
            entries=("momentum_buffer",) if momentum else (),
            works=bool(weight_decay or nesterov),
            folded=folded,
        )

    def _move(self, moves: Sequence[Move]) -> None:
        for part, rate in moves:
            grad = part.grad
            if self._decay:
                grad = torch.add(grad, part.value, alpha=self._decay, out=part.spare)
            if self._momentum:
                speed = part.states["momentum_buffer"]
                speed.mul_(self._momentum).add_(grad)
                grad = (
                    torch.add(grad, speed, alpha=self._momentum, out=part.spare)
                    if self._nesterov
                    else speed
                )
            if isinstance(rate, Tensor):
                part.value.addcmul_(grad, rate, value=-1.0)
            else:
                part.value.add_(grad, alpha=-rate)
