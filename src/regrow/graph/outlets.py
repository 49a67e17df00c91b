"""Where a filter's values leave it in a forward pass: the last places at which it is alone, before any dropout.

`graph/trace.py` runs it around the twin, mostly in training mode; the `Flow`s that it finds are where
`activity/meter.py` reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regrow.graph.calling import tensors_in
from regrow.graph.flows import Factor, Flow, Outlet, Site, joined
from regrow.graph.frames import Frame, Frames
from regrow.graph.record import LayerRecord, Record
from regrow.graph.sets import as_names, different, squeezed
from regrow.graph.weights import path_of

DROPOUTS: Final = frozenset(
    {
        *("dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "native_dropout"),
        *("alpha_dropout", "alpha_dropout_", "feature_dropout", "feature_dropout_"),
        *("feature_alpha_dropout", "feature_alpha_dropout_", "rrelu", "rrelu_"),
    }
)
_RANDOM: Final = DROPOUTS | {
    *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm"),
    *("bernoulli", "bernoulli_", "normal", "normal_", "uniform_", "exponential_", "random_"),
    *("multinomial", "poisson", "cauchy_", "geometric_", "log_normal_"),
}
_PRODUCTS: Final = frozenset(
    {"mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply", "multiply_"}
)
_CHANCE: Final = "what chance has left"
_LOOKS_ONLY: Final = frozenset(
    {"__get__", "dim", "size", "numel", "stride", "is_floating_point", "is_contiguous", "__len__"}
)

_Alone = tuple[tuple[int, ...], tuple[int, ...], list[int]]
"""The axes along which names change, their lengths, and the names along them, row by row."""


@dataclass(frozen=True)
class _Call:
    """One call of a function: in which call of which module, and which of its calls there."""

    frame: Frame
    function: str
    number: int


_Argument = tuple[_Call, int]
"""One of the tensors that a call takes: a `Site`, of which not all is known before the pass is over."""


@dataclass
class _FlowParts:
    """What was noted of one layer so far."""

    outlets: list[tuple[_Argument, partial[Outlet]]] = field(default_factory=list[Any])
    inlet: _Argument | None = None
    factors: dict[str, dict[int, set[int]]] = field(default_factory=dict[str, dict[int, set[int]]])


class OutletFinder(TorchFunctionMode):
    """Looks over the shoulder of a `Twin`: at each call of a function, which filters are alone before and after it."""

    def __init__(self, record: Record, frames: Frames, *, forgets: bool) -> None:
        super().__init__()
        # Something random worked on activations; random numbers were drawn at all.
        self.chance = self.drew = False
        # Take what has gone through dropout for no filter any more. The record is no wiring then.
        self._forgets = forgets
        self._record = record  # what the twin writes
        self._frames = frames  # the calls of modules that are under way
        self._random: dict[int, Tensor] = {}
        self._found: defaultdict[int, _FlowParts] = defaultdict(_FlowParts)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call, and compare."""
        named = kwargs or {}
        name = getattr(func, "__name__", "")
        frame = self._frames.top
        if frame is None:
            return func(*args, **named)
        number = frame.counts[name]
        frame.counts[name] += 1
        if name in _LOOKS_ONLY:
            return func(*args, **named)
        return self._compare(_Call(frame, name, number), func, args, named)

    def _compare(
        self, call: _Call, func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        """Call, and note the filters that were alone before and are not any more."""
        record, given = self._record, list(tensors_in((args, kwargs)))
        in_place = call.function.endswith("_") or call.function.startswith("__i")
        # An operation in place has written over its names when it returns: who was alone in its argument is asked
        # before.
        before = [self._alone(each) for each in given] if in_place and len(given) > 1 else None
        # Three counters tell whether anything ended here. In most calls nothing did, and the names need not be looked
        # at, which would cost a pass over every tensor of every call.
        used, refusals, unions = len(record.used), record.refusals, record.table.unions
        out = func(*args, **kwargs)
        made = list(tensors_in(out))
        live = [record.ledger.is_live(each) for each in given]
        self.drew = self.drew or call.function in _RANDOM
        chance = call.function in _RANDOM or any(id(each) in self._random for each in given)
        if chance and not any(live):
            for each in made:  # kept, so that no other tensor has its number
                self._random[id(each)] = each
        read = (len(record.used), record.refusals) != (used, refusals)
        scales = self._factors(call.function, given, live, before)
        if read or scales or record.table.unions != unions or (chance and any(live)):
            alone = before or [self._alone(each) for each in given]
            # Behind dropout, or a factor that is computed, a filter may give 0 and be well: all leave in front of it.
            everybody = chance or scales
            self._note_ended(call, given, alone, made, read=read, everybody=everybody)
        if len(record.used) == used + 1 and any(live):
            self._note_inlet(call, live.index(True), record.used[-1])
        self.chance = self.chance or (chance and any(live))
        # In a run of its own (`_in_training`): its record knows nobody behind chance, and is no wiring any more.
        if chance and self._forgets:
            self._forget(made)
        return out

    def _note_ended(
        self,
        call: _Call,
        given: Sequence[Tensor],
        alone: Sequence[_Alone | None],
        made: Sequence[Tensor],
        *,
        read: bool,
        everybody: bool,
    ) -> None:
        """Who was alone in an argument, and is together with others in what came out, or was read."""
        table, there = self._record.table, self._sets(made)
        # By the filters themselves and not by layers: behind a concatenation some of a layer's filters may go on alone
        # while others are summed.
        ended = table.shared(there)
        stays = {table.single(name) for name in there}
        for argument, place in enumerate(alone):
            if place is None:
                continue
            axes, sizes, _ = place
            outlet = partial(Outlet, ndim=given[argument].ndim, axes=axes, sizes=sizes)
            for layer in self._layers(place):
                units = [
                    unit
                    if everybody
                    or (unit >= 0 and table.atom(layer, unit) in ended)
                    or (read and (layer, unit) not in stays)
                    else -1
                    for unit in self._units(place, layer)
                ]
                if any(unit >= 0 for unit in units):
                    leaving = partial(outlet, units=tuple(units))
                    self._found[layer].outlets.append(((call, argument), leaving))

    def _forget(self, made: Sequence[Tensor]) -> None:
        """Behind chance nobody looks any more: no filter, and yet no constant."""
        # Not the empty set: as a constant, what chance has left could be added to another filter, which would still
        # pass for alone behind it.
        unknown = as_names(self._record.table.foreign(_CHANCE))
        for each in made:
            names = self._record.ledger.names_if_alike(each)
            if names is not None:
                self._record.ledger.write(each, torch.where(names != 0, unknown, names))

    def flows(self) -> dict[str, Flow]:
        """What each layer hears and gives, by module path."""
        return {
            path_of(layer.weight): self._flow(layer, self._found[number])
            for number, layer in enumerate(self._record.layers)
            if number in self._found
        }

    def _flow(self, layer: LayerRecord, parts: _FlowParts) -> Flow:
        units = range(len(layer.names))
        ndim = self._record.ledger.tensors[layer.weight].ndim
        return Flow(
            outlets=joined([leaving(site=self._site(at)) for at, leaving in parts.outlets]),
            inlet=None if parts.inlet is None else replace(self._site(parts.inlet), call=-1),
            inlet_axis=-1 if layer.kind == "linear" else 1 - ndim,
            factors=tuple(
                Factor(
                    name=name, entries=tuple(tuple(sorted(by_unit.get(each, ()))) for each in units)
                )
                for name, by_unit in parts.factors.items()
            ),
        )

    def _site(self, at: _Argument) -> Site:
        call, argument = at
        return Site(
            module=call.frame.path,
            call=call.frame.call,
            calls=self._frames.calls[call.frame.path],
            function=call.function,
            number=call.number,
            # Known only when the pass is over. A pass that calls the function another number of times takes another
            # way, and a reading would be of other filters.
            times=call.frame.counts[call.function],
            argument=argument,
        )

    def _note_inlet(self, call: _Call, argument: int, weight: str) -> None:
        for layer, each in enumerate(self._record.layers):
            # Each call of the layer hears at the same argument; the first that was seen stands for all.
            if each.weight == weight and self._found[layer].inlet is None:
                self._found[layer].inlet = call, argument

    def _alone(self, tensor: Tensor) -> _Alone | None:
        names = self._record.ledger.names_if_alike(tensor)
        if names is None:
            return None
        # Outlets are described by the few axes along which names change: a whole tensor of names for each would be as
        # large as the activations.
        small = squeezed(names, names.ndim)
        for axis in range(small.ndim):
            if small.shape[axis] > 1:  # zeros that were put around are no other filter
                high = small.amax(axis, keepdim=True)
                if bool(((small == high) | (small == 0)).all()):
                    small = high
        axes = tuple(axis for axis in range(small.ndim) if small.shape[axis] > 1)
        return axes, tuple(small.shape[axis] for axis in axes), small.flatten().tolist()

    def _layers(self, place: _Alone) -> list[int]:
        singles = (self._record.table.single(name) for name in set(place[2]))
        return sorted({found[0] for found in singles if found is not None})

    def _units(self, place: _Alone, layer: int) -> list[int]:
        known: dict[int, int] = {}
        for name in set(place[2]):
            found = self._record.table.single(name)
            known[name] = found[1] if found is not None and found[0] == layer else -1
        return [known[name] for name in place[2]]

    def _sets(self, made: Iterable[Tensor]) -> set[int]:
        """Names of the sets in some tensors."""
        every = map(self._record.ledger.names_if_alike, made)
        return {name for names in every if names is not None for name in different(names)} - {0}

    def _factors(
        self,
        name: str,
        given: Sequence[Tensor],
        live: Sequence[bool],
        before: Sequence[_Alone | None] | None,
    ) -> bool:
        """Note the model's own tensors that multiply filters; whether one does that was computed on the way."""
        if name not in _PRODUCTS or len(given) != 2 or live[0] == live[1]:
            return False
        filters, factor = (0, 1) if live[0] else (1, 0)
        if not given[factor].is_floating_point():
            return False
        place = before[filters] if before else self._alone(given[filters])
        # Drawn factors are dropout by hand, which is chance and no factor of the model's.
        if place is None or id(given[factor]) in self._random:
            return False
        found = self._record.ledger.entries(given[factor])
        if found is None:
            notes = self._record.ledger.find(given[factor])
            # A factor that was computed from weights (a softmax over branch weights) has no entry that could be looked
            # up and found to be 0: the filters leave in front of it.
            return notes is not None and notes.computed
        tensor, index = found
        ndim = max(given[0].ndim, given[1].ndim)
        shape = [1] * ndim
        for axis, size in zip(place[0], place[1], strict=True):
            shape[axis + ndim - given[filters].ndim] = size
        for layer in self._layers(place):
            units = torch.tensor(self._units(place, layer), device="cpu").reshape(shape)
            try:
                unit, entry = torch.broadcast_tensors(units, squeezed(index, ndim))
            except RuntimeError:
                continue  # along axes that were put together, as zeros around are
            pairs = set(zip(unit.flatten().tolist(), entry.flatten().tolist(), strict=True))
            by_unit = self._found[layer].factors.setdefault(tensor, {})
            for one, number in pairs:
                if one >= 0:
                    by_unit.setdefault(one, set()).add(number)
        return False


def normed_modules(model: nn.Module) -> frozenset[nn.Module]:
    """Modules that keep statistics: in training mode they refuse a single example, and need none here."""
    return frozenset(
        module
        for module in model.modules()
        if "running_mean" in module._buffers  # pyright: ignore[reportPrivateUsage]
    )
