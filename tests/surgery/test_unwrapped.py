"""Wrappers hold the optimizer whose hooks fire."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from regrow.errors import OptimizerError
from regrow.surgery import unwrap_optimizer


def test_follows_wrappers() -> None:
    inner = SGD([nn.Parameter(torch.ones(1))], lr=0.1)

    class Wrapper:
        optimizer = inner

    class Accelerated(Optimizer):
        """Without super().__init__: no hooks and no state of its own."""

        def __init__(self, optimizer: Optimizer) -> None:
            self.optimizer = optimizer

    assert unwrap_optimizer(Wrapper()) is inner
    assert unwrap_optimizer(Accelerated(inner)) is inner
    assert unwrap_optimizer(inner) is inner


def test_what_holds_none_is_refused() -> None:
    with pytest.raises(OptimizerError, match=r"torch\.optim\.Optimizer is needed, got int"):
        unwrap_optimizer(3)
