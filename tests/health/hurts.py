"""What is done to one layer by hand, and what `inspect` must then say of it, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import regrow

UNIT = 5


@dataclass(frozen=True, kw_only=True)
class Hurt:
    """A sickness of a layer.

    Attributes:
        do: Takes the weight with one row a unit, and the bias; both are written into.
        named: The measures that must name something in this layer, with the units; None: a number of the layer.
        starves: Who reads this layer hears nothing that changes.
    """

    do: Callable[[torch.Tensor, torch.Tensor], None]
    named: dict[str, tuple[int, ...] | str | None]
    starves: bool = False


ALL = "all"
"""Every unit of the layer."""


def _kill(weight: torch.Tensor, bias: torch.Tensor) -> None:
    bias[UNIT] = -100.0


def _erase(weight: torch.Tensor, bias: torch.Tensor) -> None:
    weight[UNIT], bias[UNIT] = 0.0, -50.0


def _prune(weight: torch.Tensor, bias: torch.Tensor) -> None:
    weight[UNIT] = 0.0


def _repeat(weight: torch.Tensor, bias: torch.Tensor) -> None:
    weight[UNIT], bias[UNIT] = 1.5 * weight[UNIT - 1], 1.5 * bias[UNIT - 1]


def _blow_up(weight: torch.Tensor, bias: torch.Tensor) -> None:
    weight.mul_(1000.0)
    bias.mul_(1000.0)  # so that the same units fire as before


def _fade(weight: torch.Tensor, bias: torch.Tensor) -> None:
    weight.mul_(0.01)
    bias.mul_(0.01)


def _flatten(weight: torch.Tensor, bias: torch.Tensor) -> None:
    weight[UNIT] *= 0.5  # GELU's slope is next to nothing below -3
    bias[UNIT] = -4.0


def _empty(weight: torch.Tensor, bias: torch.Tensor) -> None:
    weight.zero_()
    bias.zero_()


def _kill_all(weight: torch.Tensor, bias: torch.Tensor) -> None:
    bias.fill_(-100.0)


HURTS = {
    "killed": Hurt(do=_kill, named={"dead": (UNIT,)}),
    "erased": Hurt(do=_erase, named={"dead": (UNIT,), "invalid": (UNIT,)}),
    "pruned": Hurt(do=_prune, named={"dead": (UNIT,), "invalid": (UNIT,)}),
    "repeated": Hurt(do=_repeat, named={"duplicate": (UNIT - 1, UNIT)}),
    "blown up": Hurt(do=_blow_up, named={"gain": None}),
    "faded": Hurt(do=_fade, named={"gain": None}),
    "where GELU is flat": Hurt(do=_flatten, named={"saturated": (UNIT,)}),
    "begins at zero": Hurt(do=_empty, named={"zero_by_construction": ALL}, starves=True),
    "all killed": Hurt(do=_kill_all, named={"dead": ALL}, starves=True),
}


def hurt(net: Any, path: str, how: Hurt) -> None:
    """Do it. GPT-2's own linear layers have one column a unit."""
    layer = net.get_submodule(path)
    with torch.no_grad():
        weight = layer.weight.mT if type(layer).__name__ == "Conv1D" else layer.weight
        how.do(weight, layer.bias)


def check(health: regrow.Health, path: str, how: Hurt, reader: str | None) -> None:
    """Every sickness is found where it is, with its units, and nothing else is named."""
    expected = {(measure, path) for measure in how.named}
    if how.starves and reader is not None:
        expected.add(("starved", reader))
    assert {(each.measure, each.layer) for each in health.symptoms} == expected
    every = tuple(range(health[path].count))
    for measure, units in how.named.items():
        if units is not None:
            assert health[path].units[measure] == (every if units == ALL else units)
    if how.starves and reader is not None:
        assert health[reader].units["starved"] == tuple(range(health[reader].count))
