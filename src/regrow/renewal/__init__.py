"""Renewals: what a marked filter becomes.

* `Redraw`: fresh weights, and what belongs to them as told; with ``preserve=True`` without a jump of the output.
* `draws`: what its weights become, other than what the layer's initialiser draws.
* `Orthogonal`: directions that no filter of the layer has.
* `AddNoise`, `AddStrongest`: the filter with something added to its weights (`Scion`).
* `Absence`: what must be zero while filters are out of the network.
* `Edit`, `Layer`, `Activity`, `ReaderActivity`, `Renewal`: what a renewal takes and gives.
* `Need`, `LayerInput`, `Sums`: what only those that ask for it are told of a layer.
"""

from typing import TYPE_CHECKING

from regrow._renamed import renamed_in
from regrow.renewal import draws as draws
from regrow.renewal.absence import Absence
from regrow.renewal.base import (
    Activity,
    Edit,
    Layer,
    LayerInput,
    Need,
    ReaderActivity,
    Renewal,
    Sums,
)
from regrow.renewal.noise import AddNoise
from regrow.renewal.orthogonal import Orthogonal
from regrow.renewal.redraw import Redraw
from regrow.renewal.scion import Scion
from regrow.renewal.strongest import AddStrongest

__all__ = [
    "Absence",
    "Activity",
    "AddNoise",
    "AddStrongest",
    "Edit",
    "Layer",
    "LayerInput",
    "Need",
    "Orthogonal",
    "ReaderActivity",
    "Redraw",
    "Renewal",
    "Scion",
    "Sums",
]

if not TYPE_CHECKING:  # to type checkers a module with a `__getattr__` has every name
    __getattr__ = renamed_in(
        __name__,
        {
            "Heard": "LayerInput",
        },
    )
