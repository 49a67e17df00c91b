"""What a layer hears and gives in a forward pass: where its filters are alone for the last time, and their factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Site:
    """One argument of one function call in a forward pass, found again by where it is called."""

    module: str  # path of the module in whose forward the function is called
    call: int  # which call of that module in a pass, from 0; -1 = each of them
    # How often the module is called in a pass; where each call counts it does not matter.
    calls: int
    function: str  # name of the function
    number: int  # which call of it in that call of the module, from 0
    # How often it is called there: a pass in which that is another number has taken another way, and its calls are not
    # taken for those that were traced.
    times: int
    argument: int  # which of the tensors among its arguments


@dataclass(frozen=True, kw_only=True)
class Outlet:
    """Where filters of one layer are alone for the last time: behind it they are read, summed, mixed or dropped out."""

    site: Site  # the argument that holds them
    ndim: int  # its number of axes
    axes: tuple[int, ...]  # those along which the filters lie
    sizes: tuple[int, ...]  # their lengths
    # Along these axes, row by row, the filter at each place; -1 = none of this layer's.
    units: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One of the model's tensors that multiplies a layer's filters on their way to their readers."""

    name: str  # parameter or buffer name
    # For each filter the entries that multiply it, counted row by row.
    entries: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What one layer hears and gives in a forward pass."""

    outlets: tuple[Outlet, ...] = ()  # where its filters leave; none where that is not known
    # Where it hears, channels on the axis that `inlet_axis` counts from the end; None where that is not known.
    inlet: Site | None = None
    inlet_axis: int = -1  # -1 for dense layers
    factors: tuple[Factor, ...] = ()  # what multiplies its filters before they leave, norms apart


def joined(outlets: Sequence[Outlet]) -> tuple[Outlet, ...]:
    """One for all calls of a module, where the same filters leave in each of them."""
    found: dict[Outlet, set[int]] = {}
    for each in outlets:
        # A module that is called three times a pass, with the same filters leaving each time, is one outlet for all
        # calls: a pass with four calls can be read as well.
        every = replace(each, site=replace(each.site, call=-1))
        found.setdefault(every, set()).add(each.site.call)
    return tuple(
        each
        for every, calls in found.items()
        for each in (
            [every]
            if len(calls) == every.site.calls
            else [replace(every, site=replace(every.site, call=call)) for call in sorted(calls)]
        )
    )


def merged(first: Mapping[str, Flow], second: Mapping[str, Flow]) -> dict[str, Flow]:
    """What one run (`first`) has shown, and of layers that it left out what another one has."""
    # Where passes of training are read, training comes first: in evaluation dropout and stochastic depth are not there,
    # and a filter would seem to leave behind them.
    return {**second, **{path: flow for path, flow in first.items() if flow.outlets}}
