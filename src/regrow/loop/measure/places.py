"""Where in a running model a filter can be listened to, multiplied by a gate, or silenced.

Found once by `loop/measure/probe`; gates and silencer work at these places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage] # base of all with statistics
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the base of all convolutions

from regrow.graph import ChannelNorm, Filters, Norm, Wiring
from regrow.graph.plain import has_columns
from regrow.graph.undisturbed import hooked
from regrow.loop.measure.survey import Survey
from regrow.renewal import Absence


@dataclass(frozen=True, kw_only=True)
class Place:
    """Channels of what one module takes or gives, each of which is a filter's alone."""

    module: nn.Module  # called as a module whenever it works
    at: Literal["input", "output"]  # what it takes (``input``), or what it gives (``output``)
    axis: int  # where its channels are; from the end where that is negative
    # Filters of the layer that the place belongs to, one for each entry of `channels`.
    filters: tuple[int, ...]
    channels: tuple[int, ...]  # their channels


class UnheardError(Exception):  # no error of the user's: it ends in a note
    """A filter cannot be followed through modules that can be hooked; the message says why."""


def heard_at(filters: Filters, survey: Survey) -> tuple[Place, ...]:
    """Where all that the network hears of a layer's filters passes once: no path leads through two of these places.

    At the inputs of its readers, behind norm, activation and pooling, where the filter is alone in all channels of all
    of them. Otherwise at the output of the layer, or of the norm right behind it.
    """
    found = _PlaceList()
    for index in range(filters.count):
        if _alone(filters, index):
            _add_readers(found, filters, index, index, survey)
            continue
        own = [norm for norm in filters.norms if norm.channels[index]]
        if not own:
            found.add(survey.module(filters.weight), "output", index, (index,))
        elif len(own) == 1 and survey.only_norm(filters.weight) is survey.named(own[0].path):
            _add_norm(found, own[0], index, index, survey)
        else:
            raise UnheardError(f"it is not known whether all of it passes through {own[0].path}")
    return found.places(survey)


def given_at(filters: Filters, survey: Survey) -> tuple[Place, ...]:
    """What the layer itself gives, in front of norm and activation."""
    found = _PlaceList()
    for index in range(filters.count):
        found.add(survey.module(filters.weight), "output", index, (index,))
    return found.places(survey)


def silenced_at(
    filters: Filters, survey: Survey, *, wiring: Wiring | None = None
) -> tuple[Place, ...]:
    """Where zeros give the network without the filter: what `Absence` sets to zero, and what its readers take.

    Zeros at the readers are enough where it is heard nowhere else. Grouped filters that read nothing else go with it.
    """
    found = _PlaceList()
    out = None if wiring is None else Absence(wiring)
    for index in range(filters.count):
        gone = [(filters, index)]
        if out is not None and wiring is not None and _fills_a_group(filters, index, survey):
            mask = torch.arange(filters.count, device="cpu") == index
            bound = out.bound({filters.path: mask})
            gone += [(wiring[path], unit) for path, units in bound.items() for unit in units]
        for layer, unit in gone:
            # Behind group statistics the other filters hear whether it is there.
            if not _alone(layer, unit) or layer.mixed:
                found.add(survey.module(layer.weight), "output", index, (unit,))
                for norm in layer.norms:
                    _add_norm(found, norm, index, unit, survey)
            _add_readers(found, layer, index, unit, survey)
    return found.places(survey)


class _PlaceList:
    """Filters and channels by module and side."""

    def __init__(self) -> None:
        self._at: dict[tuple[nn.Module, Literal["input", "output"]], list[tuple[int, int]]] = {}

    def add(
        self,
        module: nn.Module,
        at: Literal["input", "output"],
        index: int,
        channels: Iterable[int],
    ) -> None:
        pairs = [(index, channel) for channel in channels]
        if pairs:
            self._at.setdefault((module, at), []).extend(pairs)

    def places(self, survey: Survey) -> tuple[Place, ...]:
        found: list[Place] = []
        for (module, at), pairs in self._at.items():
            axis = _axis(module)
            why = survey.why_not(module, at, axis)
            if why:
                raise UnheardError(why)
            filters, channels = zip(*pairs, strict=True)
            found.append(Place(module=module, at=at, axis=axis, filters=filters, channels=channels))
        return tuple(found)


def _alone(filters: Filters, index: int) -> bool:
    """Whether all that hears a filter is known, and hears nothing else in the same channels."""
    read = [all(reader.alone[index]) for reader in filters.readers if reader.channels[index]]
    return not filters.refused and not filters.is_head and bool(read) and all(read)


def _fills_a_group(filters: Filters, index: int, survey: Survey) -> bool:
    """Whether there may be filters that hear this one and nobody else: in groups, of depthwise layers say."""
    for reader in filters.readers:
        module = survey.module(reader.weight)
        if reader.groups > 1 and isinstance(module, _ConvNd):
            width = module.in_channels // reader.groups
            groups = Counter(channel // width for channel in reader.channels[index])
            if any(heard == width for heard in groups.values()):
                return True
    return False


def _add_readers(
    found: _PlaceList, filters: Filters, index: int, unit: int, survey: Survey
) -> None:
    for reader in filters.readers:
        channels = zip(reader.channels[unit], reader.alone[unit], strict=True)
        own = [channel for channel, alone in channels if alone]
        if own:
            found.add(survey.module(reader.weight), "input", index, own)


def _add_norm(found: _PlaceList, norm: Norm, index: int, unit: int, survey: Survey) -> None:
    if not norm.channels[unit]:
        return
    module = survey.named(norm.path)
    known = isinstance(module, (_NormBase, nn.GroupNorm, ChannelNorm)) or (
        # Subclasses permute their axes.
        type(module) is nn.LayerNorm and len(module.normalized_shape) == 1
    )
    if not known:
        raise UnheardError(f"where {norm.path} has its channels is not known")
    found.add(module, "output", index, norm.channels[unit])


def _axis(module: nn.Module) -> int:
    if isinstance(module, _ConvNd):
        return 1 - module.weight.ndim
    if isinstance(module, ChannelNorm):
        return module.channel_axis
    return -1 if isinstance(module, (nn.Linear, nn.LayerNorm)) or has_columns(module) else 1


Tap = tuple[str, Place]
"""A place, and the layer whose filters are there."""


@contextmanager
def tapping(
    places: Mapping[str, Sequence[Place]], change: Callable[[Tensor, Sequence[Tap]], Tensor]
) -> Generator[None]:
    """Change what passes at some places while the block runs."""
    taps: dict[str, dict[nn.Module, list[Tap]]] = {"input": {}, "output": {}}
    for path, some in places.items():
        for place in some:
            taps[place.at].setdefault(place.module, []).append((path, place))

    # What it gives replaces the arguments; torch's annotation of the hook says otherwise.
    def before(module: nn.Module, args: tuple[Any, ...]) -> Any:
        if module not in taps["input"]:
            return None
        return (change(args[0], taps["input"][module]), *args[1:])

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        if module not in taps["output"]:
            return None
        return change(output, taps["output"][module])

    with hooked(before, after):
        yield


def index_of(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Numbers as an index."""
    return torch.tensor(numbers, dtype=torch.int64, device=device)
