"""Adam and AdamW of a stack, with a learning rate a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from regrow.engine.optimizers.base import StackOptimizer, rates_of
from regrow.engine.stack import Stack


class Adam(StackOptimizer):
    """`torch.optim.Adam` for each network of a stack, in the same order of operations.

        m <- m + (1 - beta1) (g - m);   v <- beta2 v + (1 - beta2) g^2
        w <- w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    Args:
        stack: The networks.
        lr: Learning rate, of all or of each.
        betas: beta1 and beta2.
        eps: Added to the root.
        weight_decay: Strength of the pull to 0: added to the gradient.
    """

    entries = ("exp_avg", "exp_avg_sq")
    counts = True
    _kind: type[torch.optim.Adam] = torch.optim.Adam
    _decoupled = False

    def __init__(
        self,
        stack: Stack,
        *,
        lr: float | Sequence[float] = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self._betas, self._eps, self._decay = betas, eps, weight_decay
        optimizers = [
            self._kind(model.parameters(), lr=rate, betas=betas, eps=eps, weight_decay=weight_decay)
            for model, rate in zip(stack.models, rates_of(lr, stack), strict=True)
        ]
        super().__init__(stack, optimizers)
        flat = self._flat()
        self._spare = torch.empty_like(flat if stack.batched else flat[0])

    def _update(self, at: int | slice, span: slice, rate: float | Tensor) -> None:
        value, grad = self._flat()[at, span], self.stack.memory.gradients.flat[at, span]
        mean, square = (self._memories[key].flat[at, span] for key in self.entries)
        spare = self._spare[..., span]
        if self._decay and self._decoupled:
            value.mul_(1 - rate * self._decay)
        elif self._decay:
            grad = torch.add(grad, value, alpha=self._decay, out=spare)
        beta1, beta2 = self._betas
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if isinstance(rate, Tensor):
            steps = self._steps[at, :1].to(value.device, torch.float64)
            first, second = 1 - beta1**steps, (1 - beta2**steps).sqrt()
            size, root = (rate.double() / first).to(value.dtype), second.to(value.dtype)
            below = torch.sqrt(square, out=spare).div_(root).add_(self._eps)
            value.sub_(mean.div(below).mul_(size))
            return
        count = float(self._steps[at, 0])
        below = torch.sqrt(square, out=spare).div_((1 - beta2**count) ** 0.5).add_(self._eps)
        value.addcdiv_(mean, below, value=-rate / (1 - beta1**count))


@final
class AdamW(Adam):
    """`torch.optim.AdamW` for each network of a stack: Adam, with the weights themselves pulled to 0.

        w <- w (1 - lr * decay),   then as `Adam` without decay

    Args:
        stack: The networks.
        lr: Learning rate, of all or of each.
        betas: beta1 and beta2.
        eps: Added to the root.
        weight_decay: Strength of the pull.
    """

    _kind = torch.optim.AdamW
    _decoupled = True

    def __init__(
        self,
        stack: Stack,
        *,
        lr: float | Sequence[float] = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(stack, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
