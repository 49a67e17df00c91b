"""Adam and AdamW of a stack, with a learning rate a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from regrow.engine.optimizers.base import Move, Part, StackOptimizer, fresh
from regrow.engine.places import on_device
from regrow.engine.stack import Stack

_MOMENTS: Final = ("exp_avg", "exp_avg_sq")


class Adam(StackOptimizer):
    """`torch.optim.Adam` for each network of a stack.

        m <- m + (1 - beta1) (g - m);   v <- beta2 v + (1 - beta2) g^2
        w <- w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    Args:
        stack: The networks.
        lr: Learning rate, of all or of each.
        betas: beta1 and beta2.
        eps: Added to the root.
        weight_decay: Strength of the pull to 0: added to the gradient. None: torch's own default.
        optimizers: Of each network, made with these options; None: fresh ones.
    """

    _kind: type[torch.optim.Adam] = torch.optim.Adam
    _decoupled = False
    _default_decay = 0.0
    # One pass over memory instead of seven, with the bits of torch's plain loop in float64.
    _fused: ClassVar = torch.ops.aten._fused_adam_.default  # pyright: ignore

    def __init__(
        self,
        stack: Stack,
        *,
        lr: float | Sequence[float] = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | None = None,
        optimizers: Sequence[torch.optim.Adam] | None = None,
    ) -> None:
        decay = self._default_decay if weight_decay is None else weight_decay
        self._betas, self._eps, self._decay = betas, eps, decay
        options = {"betas": betas, "eps": eps, "weight_decay": decay}
        self._taken: dict[tuple[Part, ...], tuple[list[Tensor], ...]] = {}
        super().__init__(
            stack,
            optimizers or fresh(self._kind, stack, lr=lr, **options),
            entries=_MOMENTS,
            works=stack.batched,
            counts=True,
        )

    def _move(self, moves: Sequence[Move]) -> None:
        """All that have one rate in one call, in which each tensor gets the bits that it has alone."""
        by_rate: dict[float, list[Part]] = {}
        for part, rate in moves:
            if isinstance(rate, Tensor):
                self._update_all(part, rate)
            else:
                by_rate.setdefault(rate, []).append(part)
        for rate, parts in by_rate.items():
            values, grads, means, squares, steps = self._lists(tuple(parts))
            self._fused(
                values,
                grads,
                means,
                squares,
                [],
                steps,
                lr=rate,
                beta1=self._betas[0],
                beta2=self._betas[1],
                weight_decay=self._decay,
                eps=self._eps,
                amsgrad=False,
                maximize=False,
            )

    def _lists(self, parts: tuple[Part, ...]) -> tuple[list[Tensor], ...]:
        """What the kernel takes; made once for the parts that are moved together step after step."""
        if parts not in self._taken:
            self._taken[parts] = (
                [part.value for part in parts],
                [part.grad for part in parts],
                *([part.states[name] for part in parts] for name in _MOMENTS),
                [self._steps[part.portion, part.first] for part in parts],
            )
        return self._taken[parts]

    def _update_all(self, part: Part, rate: Tensor) -> None:
        """The formula: torch's kernel has one rate for all."""
        value, grad, spare = part.value, part.grad, part.spare
        mean, square = (part.states[key] for key in _MOMENTS)
        if self._decay and self._decoupled:
            value.mul_(1 - rate * self._decay)
        elif self._decay:
            grad = torch.add(grad, value, alpha=self._decay, out=spare)
        beta1, beta2 = self._betas
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        counts = self._steps[:, part.first : part.first + 1]
        steps = on_device(counts.double(), value.device)
        first, second = 1 - beta1**steps, (1 - beta2**steps).sqrt()
        size, root = (rate.double() / first).to(value.dtype), second.to(value.dtype)
        below = torch.sqrt(square, out=spare).div_(root).add_(self._eps)
        value.sub_(mean.div(below).mul_(size))


@final
class AdamW(Adam):
    """`torch.optim.AdamW` for each network of a stack: `Adam`, with the weights themselves pulled to 0.

    w <- w (1 - lr * decay), then as `Adam` without decay; torch's own default is 0.01.
    """

    _kind = torch.optim.AdamW
    _decoupled = True
    _default_decay = 1e-2
    _fused: ClassVar = torch.ops.aten._fused_adamw_.default  # pyright: ignore
