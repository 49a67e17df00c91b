"""ActivityMeter: reads the training passes of one model, once for all who ask.

The loop asks it for layers (`loop/activity`), and takes what was read at the optimizer's steps. It finds the calls by
`graph/frames.py` and `activity/call_table.py`; what passes there goes to `activity/readings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Self
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from regrow.activity.call_table import CallTable
from regrow.activity.centres import Centres
from regrow.activity.kept_calls import KeptCalls
from regrow.activity.pass_tensors import PassTensors
from regrow.activity.readings import LayerPass, PassReading
from regrow.graph import Filters, Wiring
from regrow.graph.calling import copied
from regrow.graph.flows import Flow
from regrow.graph.frames import (
    Arguments,
    Frame,
    Frames,
    compiled_anything,
    compiled_parts,
    compiled_wrappers,
    is_recorded,
)
from regrow.graph.undisturbed import as_they_are, undisturbed

_METERS: WeakValueDictionary[int, ActivityMeter] = WeakValueDictionary()
"""By the model's identity, which is one as long as the meter lives: it holds the model's modules."""


@dataclass
class _Request:
    """What one reader of the meter wants, and what has come for it since it last looked."""

    layers: Set[str] = frozenset()
    sums: bool = False
    ranges: bool = True
    passes: list[dict[str, PassReading]] = field(default_factory=list[dict[str, PassReading]])


class ActivityMeter:
    """Reads what filters give their readers while a model trains, and leaves no trace in it."""

    # A pass is a call of the model, or of a part of it, with gradients and in training mode. It is read as it runs.
    # Where a part of the model is compiled, nobody sees what happens inside: there the pass is run once more before,
    # eagerly, with the same numbers.

    def __init__(self, model: nn.Module, wiring: Wiring) -> None:
        self._model = model  # the bare model
        self._filters: dict[str, Filters] = {each.path: each for each in wiring.layers}
        self._flows: dict[str, Flow] = dict(wiring.flows)
        self._asked: dict[int, _Request] = {}
        # Calls that have ended are looked at in `_end_pass`: between two layers each line takes many times as long.
        self._ended: list[Frame] = []
        self._frames = Frames(model, outermost=self._outermost, left=self._ended.append)
        self._wrappers: list[nn.Module] = []
        self._compiled: bool | None = None
        self._passes: dict[str, LayerPass] = {}
        self._made: dict[str, LayerPass] = {}
        self.centres = Centres(self._made)
        self._table = CallTable(self._frames)
        self._watching = False
        self._before: list[Callable[[Arguments], None]] = []
        # What is worked out of the tensors of the pass that is under way.
        self.tensors = PassTensors()
        # Whether anybody wants sums, and to know who is silent.
        self.sums = self.ranges = False
        self.passes = 0  # how many were read so far
        # What the newest training pass was called with, while anybody asks for it.
        self.calls = KeptCalls()

    @classmethod
    def of(cls, model: nn.Module, wiring: Wiring, *, called: nn.Module | None = None) -> Self:
        """The meter of a model: one, however many recipes ask."""
        meter = _METERS.get(id(model))
        if meter is None:
            meter = _METERS[id(model)] = cls(model, wiring)
        meter._add(wiring)
        meter._wrap(_wrappers_of(called))
        return meter  # pyright: ignore[reportReturnType]

    def knows(self, layer: str) -> bool:
        """Whether it is known where a layer's filters leave."""
        return bool(self.flow(layer).outlets)

    def flow(self, layer: str) -> Flow:
        """Where a layer's filters leave."""
        return self._flows.get(layer, Flow())

    def ask(
        self, who: object, layers: Set[str], *, sums: bool = False, ranges: bool = True
    ) -> None:
        """Say what is to be read in the passes from here on: whether values are equal (`ranges`), and their sums."""
        asked = self._asked.setdefault(id(who), _Request())
        if (asked.layers, asked.sums, asked.ranges) != (layers, sums, ranges):
            asked.layers, asked.sums, asked.ranges = layers, sums, ranges
            self._arrange()

    def leave(self, who: object) -> None:
        """Ask for nothing any more."""
        if self._asked.pop(id(who), None) is not None:
            self._arrange()

    def take(self, who: object) -> list[dict[str, PassReading]]:
        """What has been read since this was last called: by pass, the layers that were asked for and gave something."""
        asked = self._asked.get(id(who))
        if asked is None:
            return []
        found, asked.passes = asked.passes, []
        return found

    def call_once(self, before: Callable[[Arguments], None]) -> None:
        """Call this with the arguments of the next training pass of the whole model, right before it is made, once."""
        self._before.append(before)
        self._arrange()

    def keep_calls(self, who: object, *, wanted: bool, whole: bool = True) -> None:
        """Keep in `calls` what training passes are called with, or not; `whole`, the cheapest: of the model alone."""
        if self.calls.ask(who, wanted=wanted, whole=whole):
            self._arrange()

    def settle(self) -> None:
        """Look at no pass any more if nobody asks for one: after `call_once`, and not within a pass."""
        self._before.clear()
        self._arrange()

    def show(
        self, values: Mapping[str, Tensor], inputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Take a pass that no module has made: by layer what its readers take at its first outlet, examples first."""
        for path, x in (inputs or {}).items():
            if path in self._passes:
                self._passes[path].hear(x)
        for path, x in values.items():
            if path in self._passes:
                _gives(self, self._passes[path], 0)(x)
        self._end_pass()

    @property
    def wrapped(self) -> bool:
        """Whether the model is known to be called inside something that `torch.compile` made."""
        return bool(self._wrappers)

    def look_for_wrappers(self) -> bool:
        """Look whether the model is called inside something that `torch.compile` made after it was attached."""
        return self._wrap(compiled_wrappers(self._model))

    def _add(self, wiring: Wiring) -> None:
        for path, flow in wiring.flows.items():
            self._flows.setdefault(path, flow)
        for each in wiring.layers:
            self._filters.setdefault(each.path, each)

    def _wrap(self, wrappers: Iterable[nn.Module]) -> bool:
        new = [each for each in wrappers if all(each is not known for known in self._wrappers)]
        self._wrappers += new
        if new and self._watching:
            self._arrange()
        return bool(new)

    def _arrange(self) -> None:
        """Read what anybody asks for, and nothing else."""
        self._frames.remove()
        asked = [each for each in self._asked.values() if each.layers]
        self.sums = any(each.sums for each in asked)
        self.ranges = any(each.ranges for each in asked)
        wanted = frozenset[str]().union(*(each.layers for each in self._asked.values()))
        self._passes = {}
        self._table.clear()
        self._watching = bool(wanted or self._before or self.calls.asked)
        if not self._watching:
            return
        tensors = dict(self._model.named_parameters(remove_duplicate=False))
        for path in sorted(wanted):
            filters, flow = self._filters[path], self.flow(path)
            device = tensors[filters.weight].device
            # Made once a layer and kept while it is not watched: lookouts come and go every hundred steps.
            made = self._made.get(path)
            if made is None or made.device != device:
                made = LayerPass(flow, filters.count, groups=filters.groups, device=device)
                self._made[path] = made
            self._passes[path] = made
            for number, (outlet, kept) in enumerate(zip(flow.outlets, made.outlets, strict=True)):
                self._table.enter(outlet.site, _gives(self, made, number), kept)
            if flow.inlet is not None:
                self._table.enter(flow.inlet, made.hear, None)
        if not self._compiled and (self._compiled is None or self._wrappers):
            self._compiled = compiled_parts(self._model, self._wrappers)
        self._frames.install(
            self._wrappers, whole=not (wanted or self._before) and self.calls.whole
        )

    def _outermost(
        self, module: nn.Module, path: str, given: Arguments, compiling: bool
    ) -> AbstractContextManager[object] | None:
        """A pass begins: whether it is read as it runs."""
        model = self._model
        if not (model.training and module.training and torch.is_grad_enabled()):
            return None
        # A checkpointed part runs again in the backward pass, and would be a pass of its own with values that were read
        # already.
        if _elsewhere():
            return None
        if self.calls.asked:
            self.calls.keep(path, module, given)
        if self._before and path == "":
            waiting, self._before = self._before, []
            for each in waiting:
                each(given)
        if not self._passes:
            return None
        self._compiled = bool(self._compiled) or compiling or compiled_anything()
        if self._compiled:
            self._run_once_more(model, model if path == "" else module, path, given)
            return None
        return self._pass()

    @contextmanager
    def _pass(self) -> Generator[None]:
        """What is called inside is one pass; one that is broken off by an error is none."""
        self._frames.begin()
        self._ended.clear()
        self.tensors.clear()
        try:
            with self._table:
                yield
        except BaseException:
            for each in self._passes.values():
                # A pass that was broken off has shown a part of its filters: what it has is thrown away, and not taken
                # for the start of the next one.
                each.end()
            raise
        self._end_pass()

    def _run_once_more(
        self, model: nn.Module, target: nn.Module, path: str, given: Arguments
    ) -> None:
        """The same pass once more, before it is made: eager, with the same random numbers, and nothing stays."""
        args, named = copied(*given)
        with undisturbed(model, training=as_they_are(model)), self._pass():
            self._frames.inside(path, target._call_impl, args, named)  # pyright: ignore[reportPrivateUsage]

    def _end_pass(self) -> None:
        self.passes += 1
        self.tensors.clear()
        self._table.check(self._ended)
        self._ended.clear()
        found = {
            path: reading
            for path, each in self._passes.items()
            if (reading := each.end()) is not None
        }
        if found:
            for asked in self._asked.values():
                mine = {path: each for path, each in found.items() if path in asked.layers}
                if mine:
                    asked.passes.append(mine)


def _gives(meter: ActivityMeter, layer: LayerPass, outlet: int) -> Callable[[Tensor], None]:
    """Take what an outlet gives, as those who ask want it at the moment."""
    return lambda x: layer.give(
        outlet, x, sums=meter.sums, ranges=meter.ranges, tensors=meter.tensors
    )


def _elsewhere() -> bool:
    """Whether a pass is none of the training's: one that is traced, or run again by a backward pass."""
    return is_recorded() or torch._C._current_graph_task_id() != -1  # pyright: ignore[reportPrivateUsage]


def _wrappers_of(called: nn.Module | None) -> list[nn.Module]:
    """The compiled modules around the model, from the outside to the inside."""
    found: list[nn.Module] = []
    inner: object = called
    while isinstance(inner, nn.Module):
        if "_orig_mod" in inner._modules:  # pyright: ignore[reportPrivateUsage]
            found.append(inner)
        inner = inner._modules.get("_orig_mod") or inner._modules.get("module")  # pyright: ignore[reportPrivateUsage]
    return found
