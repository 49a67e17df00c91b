"""Plain modules, autograd and torch's optimizers: any network."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from regrow.lab.assembly import build_optimizer
from regrow.lab.engines.steps import Beside
from regrow.lab.measure import right_answers
from regrow.lab.study import Training
from regrow.loop import Regrower


@final
class ModuleSteps:
    """The steps of a network as a user would write them; the recipe acts by the optimizer's hooks.

    Args:
        training: How it is trained.
        model: The network.
        lr: Its learning rate.

    Attributes:
        optimizer: Its optimizer.
    """

    def __init__(self, training: Training, model: nn.Module, *, lr: float) -> None:
        self._reduction = training.loss_reduction
        self._model = model
        self.optimizer = build_optimizer(training, model, lr=lr)

    def gradients(self, images: Tensor, labels: Tensor, beside: Beside) -> tuple[Tensor, Tensor]:
        """Both passes by autograd.

        Args:
            images: (B, C, H, W).
            labels: Classes, (B,).
            beside: What is added to the loss.

        Returns:
            Loss and number of right predictions.
        """
        outputs = self._model(images)
        loss = F.cross_entropy(outputs, labels, reduction=self._reduction)
        more = beside(outputs)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([loss, *more]).sum().backward() if more else loss.backward()
        return loss.detach(), right_answers(outputs.detach(), labels).sum()

    def step(self, regrower: Regrower | None) -> None:
        """The optimizer's own step, whose hooks call the recipe.

        Args:
            regrower: Not needed here.
        """
        del regrower
        self.optimizer.step()
