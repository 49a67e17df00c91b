"""One optimizer under watch: its step hooks, its gradient scaler, its state of renewed filters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrow.surgery import OptimizerSurgeon

_HOOKED: Final = Optimizer.profile_hook_step.__code__.co_filename
"""Where torch wraps the step of every optimizer class to call the hooks."""


class Steps(Protocol):
    """What is called around each step of an optimizer."""

    def gradients_ready(self, watch: OptimizerWatch) -> None:
        """The step is about to be made, with gradients that are complete."""
        ...

    def step_made(self, watch: OptimizerWatch) -> None:
        """The step has been made."""
        ...

    def tell(self, *, loss: Tensor | float) -> None:
        """A closure has given the loss."""
        ...


class OptimizerWatch:
    """Calls before and after every step of one optimizer.

    Attributes:
        optimizer: The bare torch optimizer.
    """

    def __init__(self, optimizer: Optimizer, surgeon: OptimizerSurgeon | None) -> None:
        self.optimizer = optimizer  # the bare torch optimizer
        # Keeps its state of renewed entries right; None where that is left as it is.
        self.surgeon = surgeon
        self.active = True  # until it is silenced or released
        self._listener: Steps | None = None
        self._handles: list[Any] = []
        self._depth = 0

    def listen(self, listener: Steps) -> None:
        """Hook the optimizer."""
        self._listener = listener
        # Where the step itself is compiled, torch.compile must not look into what is called around it.
        before: Any = torch.compiler.disable(self._before)
        after: Any = torch.compiler.disable(self._after)
        self._handles = [
            self.optimizer.register_step_pre_hook(before),
            self.optimizer.register_step_post_hook(after),
        ]

    def silence(self) -> None:
        """Call nobody any more; the hooks stay where they are, for the optimizer may be walking through them."""
        self._listener, self.active = None, False

    def release(self) -> None:
        """Take the hooks out."""
        self._listener, self.active = None, False
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def has_stepped(self) -> bool:
        """Whether the optimizer shows a step that it has made; one that keeps nothing, as plain SGD, shows none."""
        return any(_shows_a_step(state) for state in self.optimizer.state.values())

    @property
    def gradient_scale(self) -> Tensor | None:
        """What the gradients are still multiplied by: a fused optimizer under a gradient scaler divides in its step."""
        return getattr(self.optimizer, "grad_scale", None)

    def skips(self) -> bool:
        """Whether this step moves nothing: a fused optimizer under a gradient scaler that has met an infinity."""
        found = getattr(self.optimizer, "found_inf", None)
        return found is not None and bool(found)

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The step is about to be made: the gradients are there, unless a closure will make them."""
        listener = self._listener
        if listener is None:
            return None
        # A step that was broken off by an error leaves its depth behind: then nobody is inside.
        self._depth = self._depth + 1 if self._depth and _is_nested(optimizer) else 1
        if self._depth > 1:
            return None  # a subclass calls its parent's step(), which torch hooks too: one step, not two
        # torch hands over the arguments of step() with the optimizer itself in front.
        positional = list(args)
        closure = kwargs.get("closure", positional[1] if len(positional) > 1 else None)
        if closure is None:
            listener.gradients_ready(self)
            return None
        inside = self._looking_after(closure, listener)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": inside}
        positional[1] = inside
        return tuple(positional), kwargs

    def _looking_after(self, closure: Callable[[], Any], listener: Steps) -> Callable[[], Any]:
        """The user's closure, followed by a look at the gradients that it makes first: a step has one decision."""
        looked = False

        def inside() -> Any:
            nonlocal looked
            loss = closure()
            if not looked:
                looked = True
                if isinstance(loss, Tensor | float | int):
                    listener.tell(loss=loss)
                listener.gradients_ready(self)
            return loss

        return inside

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The step has been made."""
        self._depth = max(self._depth - 1, 0)
        if self._listener is not None and self._depth == 0:
            self._listener.step_made(self)


def _is_nested(optimizer: Optimizer) -> bool:
    """Whether a step of this optimizer is being made inside another of its own, by the calls that are under way."""
    found = 0
    frame = inspect.currentframe()
    while frame is not None and found < 2:
        code = frame.f_code
        if code.co_name == "wrapper" and code.co_filename == _HOOKED:
            found += frame.f_locals.get("self") is optimizer
        frame = frame.f_back
    return found > 1


def _shows_a_step(state: Mapping[str, Any]) -> bool:
    count = state.get("step")
    if isinstance(count, (int, float)) or (isinstance(count, Tensor) and count.numel() == 1):
        return float(count) > 0
    return any(isinstance(each, Tensor) and bool(each.any()) for each in state.values())
