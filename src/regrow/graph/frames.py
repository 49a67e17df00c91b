"""Which module's forward is running: seen at every call, and invisible to copies, pickles and compiled code.

Used twice: by `graph/trace.py` while a model is traced, and by `activity/meter.py` in every training pass that is read.
A call is counted in the same way in both, so that what the trace found at a call is found there again.

Module hooks would be taken along by `copy.deepcopy`, `AveragedModel` and ``torch.save(model)``; torch's global hooks
are seen by `torch.compile`, which then recompiles. ``nn.Module`` has one place more that is asked at each call, and
that its ``__getstate__`` leaves out: the one into which ``module.compile()`` puts what is called instead.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import nn

PLACE: Final = "_compiled_call_impl"
"""Of a module: what is called in its place."""

Inner = Callable[..., Any]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Outermost = Callable[[nn.Module, str, Arguments, bool], AbstractContextManager[object] | None]
"""Asked when a module is called while no other is running, with its path, its arguments, and whether torch.compile is
at work: in what the call is to be made; None: nobody looks."""


@dataclass(eq=False)
class Frame:
    """One call of one module."""

    path: str  # of the module
    call: int  # how often it was called before, in this pass
    # How often each function was called directly in it so far.
    counts: Counter[str] = field(default_factory=Counter[str])


class Frames:
    """The calls that are under way in one model."""

    def __init__(
        self,
        model: nn.Module,  # its modules are known by their first path
        *,
        # Asked when a module is called while no other is running; None: everything is looked into.
        outermost: Outermost | None = None,
        # Told each call that has ended without an error.
        left: Callable[[Frame], None] | None = None,
    ) -> None:
        # Backwards, so that the first of a module's paths is the one that stays: the trace's names are the first ones
        # too.
        self._paths = {module: path for path, module in reversed(list(model.named_modules()))}
        self._outermost = outermost
        self._left = left
        self._stack: list[Frame] = []
        self._held: list[tuple[nn.Module, Any]] = []
        self._slots: dict[nn.Module, tuple[Any, Inner]] = {}
        self._idle = False
        self.calls: Counter[str] = Counter()

    @property
    def top(self) -> Frame | None:
        """The innermost call; None while none is looked into."""
        return self._stack[-1] if self._stack else None

    def install(self, wrappers: Iterable[nn.Module] = (), *, whole: bool = False) -> None:
        """Be asked at each call from here on; `wrappers` are called in the model's place (`torch.compile`)."""
        # `whole`: only at calls of the whole model, and what is compiled inside of it stays in one piece.
        if self._held:
            return
        own = [(module, path) for module, path in self._paths.items() if not (whole and path)]
        for module, path in (*own, *((each, "") for each in wrappers)):
            # What `module.compile()` has put there goes on being called: it is what the own call is wrapped around.
            before = module.__dict__.get(PLACE)
            self._held.append((module, before))
            known = self._slots.get(module)
            # Kept, for they come and go, and to make one takes a while.
            if known is None or known[0] is not before:
                own_call = module._call_impl  # pyright: ignore[reportPrivateUsage]
                known = before, self._slot(module, path, before or own_call)
                self._slots[module] = known
            module.__dict__[PLACE] = known[1]

    def remove(self) -> None:
        """Put everything back."""
        for module, before in self._held:
            if before is None:
                module.__dict__.pop(PLACE, None)
            else:
                module.__dict__[PLACE] = before
        self._held, self._stack = [], []

    def begin(self) -> None:
        """A new pass: calls are counted from 0."""
        self._stack.clear()
        self.calls.clear()

    def inside(self, path: str, inner: Inner, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Call what a module would do, as a call that is looked into."""
        frame = Frame(path, self.calls[path])
        self.calls[path] += 1
        depth = len(self._stack)
        self._stack.append(frame)
        try:
            given = inner(*args, **kwargs)
        finally:
            # Not `pop`: `begin` and `remove` empty the stack, also while a call is under way.
            del self._stack[depth:]
        # Not in `finally`: of a call that ended with an error nothing can be concluded.
        if self._left is not None:
            self._left(frame)
        return given

    def _slot(self, module: nn.Module, path: str, inner: Inner) -> Inner:
        # Nothing but the call itself may go on under torch.compile, which would take the rest for the model's.
        disabled = "torch._dynamo" in sys.modules
        asks: Any = self._outermost
        if asks is not None and disabled:
            asks = torch.compiler.disable(asks)
        # Gives something where what is called further inside is compiled. A function around it would be compiled, too.
        callback = torch._C._dynamo.eval_frame.get_eval_frame_callback  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]

        def called(*args: Any, **kwargs: Any) -> Any:
            if self._idle:
                return inner(*args, **kwargs)
            if self._stack or asks is None:
                return self.inside(path, inner, args, kwargs)
            # Asked here: where it is disabled, nobody knows any more.
            within = asks(module, path, (args, kwargs), callback() not in (None, False))
            if within is not None:
                with within:
                    return self.inside(path, inner, args, kwargs)
            # While nobody looks at a call, its inner modules must not take themselves for outermost ones: each would be
            # asked about as a pass of its own, and be read as one.
            self._idle = True
            try:
                return inner(*args, **kwargs)
            finally:
                self._idle = False

        return uncompiled(called, inner) if disabled else called


def uncompiled(called: Inner, inner: Inner) -> Inner:
    """A call that torch.compile does not look into, though into `inner` that it makes; torch.export sees that alone."""
    skipped = torch.compiler.disable(called, recursive=False)
    # Older versions of torch have no such function, and export what is skipped.
    exporting = getattr(torch.compiler, "is_exporting", None)
    if exporting is None:
        return skipped

    def either(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs) if exporting() else skipped(*args, **kwargs)

    # The frames alone are skipped: what is compiled inside stays compiled, and in one piece. torch skips no more than a
    # wrapper of its own around `called`; and it must come across `either` where a model is exported.
    for frame in (called, either):
        sys.modules["torch._dynamo.eval_frame"].skip_code(frame.__code__)
    return either


def compiled_parts(model: nn.Module, wrappers: Iterable[nn.Module] = ()) -> bool:
    """Whether a part of a model, or a function inside, may run as compiled code: what happens there is not seen."""
    # Any sign at all counts. Where a compiled part is missed, its calls are never seen and its filters never read;
    # where one is seen that is not there, a pass is run once more for nothing.
    if any(True for _ in wrappers):
        return True
    for module in model.modules():
        if module.__dict__.get(PLACE) or "_orig_mod" in dict(module.named_children()):
            return True
    return compiled_anything()


def compiled_anything() -> bool:
    """Whether torch.compile has compiled anything in this process: a function inside a model may have been."""
    frames = sys.modules.get("torch._dynamo.convert_frame")
    return bool(getattr(frames, "FRAME_COUNTER", 0))


def compiled_wrappers(model: nn.Module) -> list[nn.Module]:
    """What `torch.compile` has made of a model, among all that is alive in this process: to look takes a while."""
    evaluation = sys.modules.get("torch._dynamo.eval_frame")
    kind = getattr(evaluation, "OptimizedModule", None)
    if kind is None:
        return []
    import gc  # noqa: PLC0415 # needed here alone

    return [
        each
        for each in gc.get_objects()
        if issubclass(type(each), kind) and each._modules.get("_orig_mod") is model
    ]


def is_recorded() -> bool:
    """Whether the call under way is written down by `torch.jit.trace`, `torch.fx` or `torch.export`, for later use."""
    # It may be in training mode, with gradients, and called with symbols: nothing of it is a training's, and whatever
    # is called beside it would be written down too.
    tracer = sys.modules.get("torch.fx._symbolic_trace")  # whose own function of this warns
    return (
        torch.jit.is_tracing()
        or torch.compiler.is_compiling()
        or bool(getattr(tracer, "_is_fx_tracing_flag", False))
    )
