"""ForwardReading: the model runs as it is, and what passes at outlets and inlets is taken while it runs.

Called by `health/inspecting.py` with one batch after the other. Nothing of a pass is kept but sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regrow.activity.call_table import CallTable
from regrow.errors import TraceError
from regrow.graph.calling import tensors_in
from regrow.graph.filters import Filters
from regrow.graph.flows import Flow
from regrow.graph.frames import Frame, Frames
from regrow.graph.undisturbed import hooked
from regrow.health.data import Batch
from regrow.health.input_reading import BatchReading, GainReading, InletReading
from regrow.health.pass_values import FLOORED, PassValues, bounds_of
from regrow.health.slopes import TAILED, FlatEnds
from regrow.health.turns import Turns
from regrow.health.unit_reading import UnitReading


class _BoundsTable(CallTable):
    """Notes besides what is known of tensors by the activation that they come from."""

    def __init__(self, frames: Frames, flat: float) -> None:
        super().__init__(frames)
        self.values = PassValues()  # of one pass
        self._ends = FlatEnds(flat)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Read, call, and note."""
        name, named = getattr(func, "__name__", ""), kwargs or {}
        # Before the call, which may write over its input.
        flat = self._ends.marked(func, args, named) if name in TAILED else None
        out = super().__torch_function__(func, types, args, kwargs)
        if not isinstance(out, Tensor):
            return out
        if flat is not None:
            self.values.flattened(out, flat)
        if name in FLOORED:
            self.values.floored(out)
        if (bounds := bounds_of(name, args, named)) is not None:
            self.values.bounded(out, bounds)
        return out


class ForwardReading:
    """Everything that forward passes show."""

    def __init__(
        self,
        model: nn.Module,  # the bare model, in the mode in which it is run
        layers: Sequence[Filters],  # in the order of the calls
        flows: Mapping[str, Flow],  # where their units leave in that mode
        *,
        flat: float,  # the share of an activation's steepest slope up to which it is flat
    ) -> None:
        self._model = model
        self._ended: list[Frame] = []
        self._frames = Frames(model, left=self._ended.append)
        self._table = _BoundsTable(self._frames, flat)
        self.gains = GainReading(model, layers)  # of all layers
        self.batches = BatchReading()  # of the model's own inputs
        self.examples = 0  # how many have passed
        # By layer, one for each outlet; none where it is not known where units leave.
        self.units: dict[str, list[UnitReading]] = {}
        self.inlets: dict[str, InletReading] = {}  # by layer
        tensors = dict(model.named_parameters(remove_duplicate=False))
        for layer in layers:
            flow = flows.get(layer.path, Flow())
            device = tensors[layer.weight].device
            self.units[layer.path] = []
            for number, outlet in enumerate(flow.outlets):
                # Of a unit that is read at two places one is enough to see whom it is like.
                reading = UnitReading(outlet, layer.count, device, compared=number == 0)
                self.units[layer.path].append(reading)
                self._table.enter(outlet.site, self._taken_by(reading), reading)
            if flow.inlet is not None:
                inlet = InletReading(flow.inlet_axis, groups=layer.groups)
                self.inlets[layer.path] = inlet
                self._table.enter(flow.inlet, self._taken_by(inlet), None)
        # Whose units are compared with each other in which batch.
        self.turns = Turns(each for several in self.units.values() for each in several)

    def _taken_by(self, reading: UnitReading | InletReading) -> Callable[[Tensor], None]:
        return lambda x: reading.take(x, self._table.values)

    def run(self, batch: Batch, *, last: bool) -> Any:
        """Run the model on a batch, the last one or not: what it gives."""
        self.turns.begin(last=last)
        args, named = batch.arguments()
        self.batches.take(list(tensors_in((args, named))))
        self._frames.install()
        try:
            self._frames.begin()
            with hooked(lambda *_: None, self.gains.take, named=True), self._table:
                given = self._model(*args, **named)
        except Exception as error:
            raise TraceError(
                f"the model must run on every batch; its forward raised {type(error).__name__}: {error} (inspect)"
            ) from error
        finally:
            self._frames.remove()
            self._table.values = PassValues()
        self._table.check(self._ended)
        self._ended.clear()
        self.turns.end(last=last)
        self.examples += len(batch)
        return given


def first_device(model: nn.Module) -> torch.device:
    """Where batches are taken to."""
    return next((each.device for each in model.parameters()), torch.device("cpu"))
