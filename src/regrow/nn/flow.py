"""What goes only where: run a model, and see which module's whole output goes to one other module alone.

Called by `nn/neighbours.py`, with what `nn/recorder.py` has seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from regrow.graph.calling import ExampleInputs, call_arguments
from regrow.graph.undisturbed import hooked, undisturbed
from regrow.nn.recorder import Arrival, Recorder, Value


class Flow:
    """The runs of a model: which tensor every module took and gave."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.paths = {module: path for path, module in model.named_modules()}  # the first of each
        self._taken: dict[nn.Module, list[Arrival]] = {}
        self._given: dict[nn.Module, list[Value | None]] = {}

    def run(self, example_inputs: ExampleInputs, *, training: bool) -> None:
        """Run the model in evaluation or in training mode, and see what goes where: it stays as it was."""
        recorder = Recorder(self.paths, self._taken, self._given)
        with undisturbed(self._model, training=lambda module: training):
            args, kwargs = call_arguments(example_inputs)
            with hooked(recorder.enter, recorder.leave), recorder:
                recorder.finish(self._model(*args, **kwargs))

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
            if taker is None or all(each.value is not value for each in self.arrivals(taker)):
                return takers, f"its output goes to the operation {op}, in no module of its own"
            takers[taker] = None
        return takers, "" if takers else "nothing reads its output"

    def views_whole(self, module: nn.Module, follower: nn.Module) -> bool:
        """Whether a follower takes the output as it was given: the same shape, entry by entry."""
        return all(
            (given.shape, given.stride(), given.storage_offset())
            == (taken.shape, taken.stride(), taken.storage_offset())
            for given, taken in self._passed_on(module, follower)
        )

    def views_flat(self, module: nn.Module, follower: nn.Module) -> bool:
        """Whether a follower takes the output flattened, channel after channel, a row a sample."""
        return all(
            (given.is_contiguous() and taken.is_contiguous() and taken.ndim == 2)
            and (taken.shape[0], taken.numel()) == (given.shape[0], given.numel())
            for given, taken in self._passed_on(module, follower)
        )

    def _passed_on(self, module: nn.Module, follower: nn.Module) -> list[tuple[Tensor, Tensor]]:
        """What a module gave and its follower took of it, call by call: one takes nothing else, and always a tensor."""
        return [
            (arrival.value.made[module][1], arrival.tensor)
            for arrival in self.arrivals(follower)
            if arrival.value is not None and arrival.tensor is not None
        ]
