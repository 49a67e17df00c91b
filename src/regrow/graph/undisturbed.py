"""Run a model and leave no trace: flags, buffers, random state and hooks are as they were, also after an error.

Whatever runs a model besides its training runs it inside of this: the trace, `inspect`, measurements at attach.
"""

from __future__ import annotations

import gc
import random
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks


@contextmanager
def hooked(
    before: Callable[..., Any], after: Callable[..., Any], *, named: bool = False
) -> Generator[None]:
    """Call these in front of and behind each module's forward while the block runs."""
    # The hooks are torch's own, for all modules: one on the model's modules would be seen by its compiled forms.
    # `before` takes the module and its arguments by place; `after` these, with `named` those by name too, and the
    # output.
    first = global_hooks.register_module_forward_pre_hook(before)
    second = global_hooks.register_module_forward_hook(after, with_kwargs=named)
    try:
        yield
    finally:
        first.remove()
        second.remove()
        # torch forgets to, and takes the rest for a hook from then on.
        global_hooks._global_forward_hooks_with_kwargs.pop(second.id, None)  # pyright: ignore[reportPrivateUsage]


@contextmanager
def uncollected() -> Generator[None]:
    """Let Python's collector of reference cycles rest while the block runs."""
    # What a trace makes is many small objects, which all stay. To look through everything again each time that some
    # hundreds have come would be more than a third of its time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class RunningModule:
    """Knows which module of a model is running, by hooks that belong to torch and not to the model."""

    def __init__(
        self,
        model: nn.Module,  # its modules are known by their first path
        *,
        closed: Callable[[nn.Module], bool] = lambda module: False,  # none of them
        # Called when one of the closed ones has run, with the module, its path, its arguments and its output.
        left: Callable[[nn.Module, str, Any, Any], None] | None = None,
    ) -> None:
        # The first path of a module that has several.
        self._path_of = {module: path for path, module in reversed(list(model.named_modules()))}
        self._running: list[nn.Module] = []
        # Into which of them one does not look.
        self._closed = {module for module in self._path_of if closed(module)}
        self._left = left

    @property
    def inside_closed(self) -> bool:
        """Whether a module is running into which one does not look."""
        # Anywhere on the way down, and not only innermost: a closed module may have parts that are open.
        return bool(self._closed) and any(module in self._closed for module in self._running)

    def __call__(self) -> str:
        """The path of the innermost running module; "" for the model itself."""
        return self._path_of[self._running[-1]] if self._running else ""

    @contextmanager
    def watching(self) -> Generator[None]:
        """Keep track while the block runs; an error leaves the path where it was raised."""
        self._running.clear()
        with hooked(self._enter, self._leave, named=True):
            yield

    def _enter(self, module: nn.Module, args: Any) -> None:
        if module in self._path_of:
            self._running.append(module)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        # Modules inside whose error was caught by this one are still on the pile.
        while module in self._running:
            if self._running.pop() is module:
                break
        if module in self._closed and self._left is not None and not self.inside_closed:
            self._left(module, self._path_of[module], (args, kwargs), output)


def as_they_are(model: nn.Module) -> Callable[[nn.Module], bool]:
    """For `undisturbed`: each module in the mode that it is in now; frozen norms stay in evaluation mode."""
    flags = {module: bool(getattr(module, "training", False)) for module in model.modules()}
    return lambda module: flags[module]


def _never(module: nn.Module) -> bool:
    return False


@contextmanager
def undisturbed(
    model: nn.Module, *, training: Callable[[nn.Module], bool] = _never
) -> Generator[None]:
    """Put a model into evaluation mode without gradients, and everything back afterwards."""
    # The flags are set one module at a time: `train()` and `eval()` may be overridden, and may do more than set flags.
    # Random numbers inside are those that would come next anyway.
    # A frozen TorchScript has no flag.
    # Module by module: `eval()` would put parts into evaluation that a user keeps in training on purpose, and `train()`
    # after it would not bring that back.
    flags = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()  # pyright: ignore[reportPrivateUsage]  # named_buffers skips None
    ]
    python_state = random.getstate()
    fastpath = torch.backends.mha.get_fastpath_enabled()
    cached = torch.is_autocast_cache_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=_gpus()))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.no_grad())
        # What a checkpointed part (use_reentrant=True) says of gradients that nobody wants here, and a compiled part
        # of hooks that know which modules they are for.
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "None of the inputs have requires_grad=True")
        warnings.filterwarnings("ignore", "Using `torch.compile.* when there are global hooks")
        if (
            "torch._dynamo" in sys.modules
        ):  # compiled parts of the model would hide their operations
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        torch.backends.mha.set_fastpath_enabled(False)  # one opaque operation instead of products
        # Autocast would keep copies of weights that were made without gradients, and the training use them.
        torch.set_autocast_cache_enabled(False)
        try:
            for module, _ in flags:
                module.training = training(module)
            yield
        finally:
            torch.set_autocast_cache_enabled(cached)
            torch.backends.mha.set_fastpath_enabled(fastpath)
            random.setstate(python_state)
            for module, flag in flags:
                module.training = flag
            for module, name, buffer, values in buffers:
                _put_back(module, name, buffer, values)


def _put_back(module: nn.Module, name: str, buffer: Tensor | None, values: Tensor | None) -> None:
    # The object itself first: a forward may have put another tensor in its place.
    module._buffers[name] = buffer  # pyright: ignore[reportPrivateUsage]
    if buffer is None or values is None or buffer.is_meta:
        return
    if not torch.equal(buffer, values):  # a copy in any case would count as a change for autograd
        buffer.copy_(values)


def _gpus() -> list[int]:
    """The CUDA devices whose generators a run can advance."""
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return []
    return list(range(torch.cuda.device_count()))
