"""A stack of one network: the hand-written passes of `regrow.engine`, several times as fast for small networks."""

from __future__ import annotations

from typing import Literal, final

from torch import Tensor, nn

from regrow.engine import SGD, Adam, AdamW, Stack, StackOptimizer
from regrow.lab.engines.steps import Beside
from regrow.lab.study import Training
from regrow.loop import Regrower


@final
class StackSteps:
    """The steps of a network in the engine's memory; the recipe is called before and after each.

    On the CPU one network is the fastest stack for most sizes: its numbers stay in the cache, and networks are
    parallel over processes.

    Args:
        training: How it is trained.
        model: The network; its tensors move into the stack's memory.
        lr: Its learning rate.

    Attributes:
        optimizer: Its torch optimizer, which holds rate and state; the step is made by the stack.

    Edge cases:
        A network that the engine cannot run: an UnsupportedError.
    """

    def __init__(self, training: Training, model: nn.Module, *, lr: float) -> None:
        self._reduction: Literal["mean", "sum"] = training.loss_reduction
        self._stack = Stack([model])
        self._steps = stack_optimizer(training, self._stack, lr=lr)
        self.optimizer = self._steps.optimizers[0]

    def gradients(self, images: Tensor, labels: Tensor, beside: Beside) -> tuple[Tensor, Tensor]:
        """Both passes by hand.

        Args:
            images: (B, C, H, W).
            labels: Classes, (B,).
            beside: Not used: trials that add to the loss do not run in a stack.

        Returns:
            Loss and number of right predictions.
        """
        del beside
        loss, right = self._stack.gradients(images, labels, reduction=self._reduction)
        return loss[0], right[0]

    def step(self, regrower: Regrower | None) -> None:
        """The stack's step, with the recipe's two calls around it.

        Args:
            regrower: The recipe; None without one.
        """
        if regrower is not None:
            regrower.before_step()
        self._steps.step()
        if regrower is not None:
            regrower.after_step()


def stack_optimizer(training: Training, stack: Stack, *, lr: float) -> StackOptimizer:
    """The optimizer of a training, for a stack.

    Args:
        training: Its settings.
        stack: The networks.
        lr: Their learning rate.

    Returns:
        A fresh optimizer.
    """
    if training.optimizer == "sgd":
        return SGD(
            stack,
            lr=lr,
            momentum=training.momentum,
            nesterov=training.nesterov,
            weight_decay=training.weight_decay,
        )
    kind = Adam if training.optimizer == "adam" else AdamW
    return kind(stack, lr=lr, weight_decay=training.weight_decay)
