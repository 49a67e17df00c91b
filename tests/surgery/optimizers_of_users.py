"""Optimizers as users write them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn, optim
from torch.optim import Optimizer


class Inherits(optim.Adam):
    """Another default, the same arithmetic."""

    def __init__(self, params: list[nn.Parameter], lr: float = 0.02) -> None:
        super().__init__(params, lr=lr)


class Overrides(optim.Adam):
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        return super().step(closure)


class OtherState(optim.Adam):
    def _init_group(self, *args: Any, **kwargs: Any) -> Any:
        return super()._init_group(*args, **kwargs)


class SubMuon(optim.Muon):
    pass


class Mine(Optimizer):
    """Heavy ball with a count, and a memory of any kind the test asks for."""

    def __init__(self, params: list[nn.Parameter], memory: Callable[[nn.Parameter], Any]) -> None:
        super().__init__(params, {"lr": 0.1})
        self._memory = memory

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        del closure
        for weight in self.param_groups[0]["params"]:
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros(())
                state["velocity"] = torch.zeros_like(weight)
                state["more"] = self._memory(weight)
                state["name"] = "not a tensor"
            state["step"] += 1
            state["velocity"].mul_(0.9).add_(weight.grad)
            weight.sub_(0.1 * state["velocity"])
