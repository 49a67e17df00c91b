"""What goes only where: run a model, and see which module's whole output goes to one other module alone.

Called by `nn/neighbours.py`, with what `nn/recorder.py` has seen.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from regrow.graph.calling import ExampleInputs, call_arguments
from regrow.graph.undisturbed import hooked, undisturbed
from regrow.nn.recorder import Arrival, Recorder, Value


class Flow:
    """The runs of a model: which tensor every module took and gave. Modules are named by their first path."""

    def __init__(self, model: nn.Module) -> None:
        self._path_of = {module: path for path, module in reversed(list(model.named_modules()))}
        self._taken: dict[nn.Module, list[Arrival]] = {}
        self._given: dict[nn.Module, list[Value | None]] = {}

    def arrivals(self, module: nn.Module) -> Sequence[Arrival]:
        """What a module took, one a call."""
        return self._taken.get(module, ())

    def follower(self, module: nn.Module) -> tuple[nn.Module | None, str]:
        """The one module that takes all of another's output while nothing else sees it; or None, and why there is none.

        It takes the tensor itself or a view of it, in every call of both, in every run.
        """
        values = self._given.get(module)
        if not values:
            return None, "it did not run on the example inputs"
        takers: dict[nn.Module, None] = {}
        for value in values:
            if value is None:
                return None, "its output is not one tensor of its own"
            found, why = self._takers(module, value)
            if why:
                return None, why
            takers |= found
        if len(takers) > 1:
            return None, "its output goes to several modules"
        (taker,) = takers
        if any(
            # A follower that is called elsewhere too has weights that the other caller needs as they are: what is
            # folded into them would change that one's results.
            arrival.value is None or module not in arrival.value.made
            for arrival in self._taken[taker]
        ):
            kind = type(taker).__name__
            return None, f"the {kind} that takes its output is also called on something else"
        return taker, ""

    def _takers(self, module: nn.Module, value: Value) -> tuple[dict[nn.Module, None], str]:
        """The modules that read one output; or why something else does, or nothing."""
        takers: dict[nn.Module, None] = {}
        if value.given_out:
            return takers, "its output is (part of) the model's"
        before, _ = value.made[module]
        for taker, op in value.reads[before:]:
            if taker is None or not self._takes(taker, value):
                return takers, f"its output goes to the operation {op}, in no module of its own"
            takers[taker] = None
        return takers, "" if takers else "nothing reads its output"

    def views_whole(self, module: nn.Module, taker: nn.Module) -> bool:
        """Whether a follower takes the output as it was given: the same shape, entry by entry."""
        pairs = self._passed_on(module, taker)
        return pairs is not None and all(
            (given.shape, given.stride(), given.storage_offset())
            == (taken.shape, taken.stride(), taken.storage_offset())
            for given, taken in pairs
        )

    def views_flat(self, module: nn.Module, taker: nn.Module) -> bool:
        """Whether a follower takes the output flattened, channel after channel, a row a sample."""
        pairs = self._passed_on(module, taker)
        return pairs is not None and all(
            (given.is_contiguous() and taken.is_contiguous() and taken.ndim == 2)
            and (taken.shape[0], taken.numel()) == (given.shape[0], given.numel())
            for given, taken in pairs
        )

    def _passed_on(self, module: nn.Module, taker: nn.Module) -> list[tuple[Tensor, Tensor]] | None:
        """What a module gave and its follower took of it, call by call; None where that is not known."""
        found: list[tuple[Tensor, Tensor]] = []
        for arrival in self._taken[taker]:
            if arrival.value is None or arrival.tensor is None:
                return None
            found.append((arrival.value.made[module][1], arrival.tensor))
        return found

    def path(self, module: nn.Module) -> str:
        """The first path of a module."""
        return self._path_of[module]

    def _takes(self, taker: nn.Module, value: Value) -> bool:
        return any(arrival.value is value for arrival in self._taken.get(taker, ()))

    @contextmanager
    def recording(self) -> Generator[Recorder]:
        """Watch one run of the model."""
        recorder = Recorder(self._taken, self._given)

        def enter(module: nn.Module, args: Any) -> None:
            if module in self._path_of:
                recorder.enter(module, args)

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if module in self._path_of:
                recorder.leave(module, output)

        with hooked(enter, leave), recorder:
            yield recorder


def record(
    model: nn.Module, example_inputs: ExampleInputs, *, training: bool = True
) -> tuple[Flow, str]:
    """Run a model in evaluation mode, and perhaps in training mode, and see what goes where: the model stays as it was.

    Beside what was seen the error that the run in training mode ended with, "" for none.
    """
    flow = Flow(model)
    _run(flow, model, example_inputs, training=False)
    if not training:
        return flow, ""
    try:
        _run(flow, model, example_inputs, training=True)
    except Exception as error:  # whatever the model raises is said by the caller
        return flow, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return flow, ""


def _run(flow: Flow, model: nn.Module, example_inputs: ExampleInputs, *, training: bool) -> None:
    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        for module in model.modules():
            module.training = training
        args, kwargs = call_arguments(example_inputs)
        recorder = stack.enter_context(flow.recording())
        recorder.finish(model(*args, **kwargs))
