"""Entries of parameters that are 0 and stay 0, whatever the training loop and the optimizer do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from regrow.loop.drop.slices import Part

_LOOK_AGAIN = 64
"""Steps between two looks at whether what is out has been moved: to read all of it takes as long as to write it."""


class HeldZeros:
    """Holds slices of parameters at 0 from `begin` to `end`."""

    def __init__(self) -> None:
        self._parts: dict[str, Sequence[Part]] = {}
        # Gradients of this step, and their versions.
        self._cleared: dict[str, tuple[Tensor, int]] = {}
        self._hooks: list[RemovableHandle] = []
        self._versions: dict[str, int] = {}  # of the parameters, after the last step
        self._restless: set[str] = set()
        self._steps = 0

    def begin(self, parts: Mapping[str, Sequence[Part]], tensors: Mapping[str, Tensor]) -> None:
        """Keep these at 0 from here on; they are 0 already."""
        self._parts = dict(parts)
        self._restless, self._steps = set(), 0
        for name in self._parts:
            self._versions[name] = tensors[name]._version
            if tensors[name].requires_grad:
                clear: Callable[[Tensor], None] = partial(self._clear, name)
                self._hooks.append(tensors[name].register_post_accumulate_grad_hook(clear))

    def end(self) -> None:
        """Let gradients and steps through from here on."""
        for hook in self._hooks:
            hook.remove()
        self._parts, self._hooks, self._cleared, self._versions = {}, [], {}, {}

    def freeze(self, tensors: Mapping[str, Tensor]) -> None:
        """Take away the gradient of what is out: where it, value and state are zero, no optimizer moves anything.

        The gradients' hooks do it as soon as a gradient is there, so that nobody counts it who looks at gradients
        before the step (clipping by norm, say). This is for gradients that came another way.
        """
        for name in self._parts:
            gradient, version = self._cleared.get(name, (None, -1))
            tensor = tensors[name]
            if gradient is None or gradient is not tensor.grad or version != gradient._version:
                self._clear(name, tensor)
        self._cleared.clear()

    def disturbed(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Before a step: find out whether somebody has written into what is out since the last one, and silence it."""
        written = [name for name, seen in self._versions.items() if tensors[name]._version != seen]
        heard = [name for name in written if self._is_heard(name, tensors[name])]
        for name in heard:
            self._silence(name, tensors[name])
        return heard

    def settle(self, tensors: Mapping[str, Tensor]) -> None:
        """After a step: what is out is 0, whatever the loop and the optimizer have done.

        With neither gradient nor state an optimizer leaves a 0 where it is. Where one was moved all the same (by noise
        in ``grad.data``, or in the optimizer itself), it is set to 0 after each step from then on. That is looked at in
        the first step of a phase, and now and then.
        """
        look, self._steps = self._steps % _LOOK_AGAIN == 0, self._steps + 1
        for name in self._versions:
            tensor = tensors[name]
            if look and name not in self._restless and self._is_heard(name, tensor):
                self._restless.add(name)
            if name in self._restless:
                self._silence(name, tensor)
            self._versions[name] = tensor._version

    def _clear(self, name: str, tensor: Tensor) -> None:
        gradient = tensor.grad
        if gradient is not None:
            with torch.no_grad():
                for part in self._parts.get(name, ()):
                    part.clear_(gradient)
            self._cleared[name] = gradient, gradient._version

    def _is_heard(self, name: str, tensor: Tensor) -> bool:
        return any(bool(part.read(tensor.detach()).any()) for part in self._parts[name])

    def _silence(self, name: str, tensor: Tensor) -> None:
        with torch.no_grad():
            for part in self._parts[name]:
                part.fill_(tensor, 0.0)
