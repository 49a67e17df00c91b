"""What a layer hears and gives in a forward pass: where its filters are alone for the last time, and their factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Site:
    """One argument of one function call in a forward pass, found again by where it is called.

    A pass in which the same module calls the function another number of times has taken another way, and its calls are
    not taken for those that were traced.

    Attributes:
        module: Path of the module in whose forward the function is called.
        call: Which call of that module in a pass, from 0; -1 = each of them.
        calls: How often the module is called in a pass; where each call counts it does not matter.
        function: Name of the function.
        number: Which call of it in that call of the module, from 0.
        times: How often it is called there.
        argument: Which of the tensors among its arguments.
    """

    module: str
    call: int
    calls: int
    function: str
    number: int
    times: int
    argument: int


@dataclass(frozen=True, kw_only=True)
class Outlet:
    """Where filters of one layer are alone for the last time: behind it they are read, summed, mixed or dropped out.

    Attributes:
        site: The argument that holds them.
        ndim: Its number of axes.
        axes: Those along which the filters lie.
        sizes: Their lengths.
        units: Along these axes, row by row, the filter at each place; -1 = none of this layer's.
    """

    site: Site
    ndim: int
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    units: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One of the model's tensors that multiplies a layer's filters on their way to their readers.

    Attributes:
        name: Parameter or buffer name.
        entries: For each filter the entries that multiply it, counted row by row.
    """

    name: str
    entries: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What one layer hears and gives in a forward pass.

    Attributes:
        outlets: Where its filters leave; none where that is not known.
        inlet: Where it hears, channels on the axis that `inlet_axis` counts from the end; None where that is not known.
        inlet_axis: -1 for dense layers.
        factors: What multiplies its filters before they leave, norms apart.
    """

    outlets: tuple[Outlet, ...] = ()
    inlet: Site | None = None
    inlet_axis: int = -1
    factors: tuple[Factor, ...] = ()


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
