"""Guards: what one optimizer step may do to a layer.

* `StepLimit`: no step moves a layer by more than a share of its length.
* `AdaptiveClip`, `NormClip`: gradients are clipped, unit by unit or as a whole.
* `WeightClip`: weights stay within the bounds of their initialiser.
* `Guard`: the base; `Guarding`: a guard in one training; `Group`, `StepParameters`, `Part`: what it is shown.
"""

from typing import TYPE_CHECKING

from regrow._renamed import renamed_in
from regrow.guard.adaptive_clip import AdaptiveClip
from regrow.guard.base import Guard
from regrow.guard.guarding import Guarding
from regrow.guard.norm_clip import NormClip
from regrow.guard.step_limit import StepLimit
from regrow.guard.step_parameters import Group, Part, StepParameters
from regrow.guard.weight_clip import WeightClip

__all__ = [
    "AdaptiveClip",
    "Group",
    "Guard",
    "Guarding",
    "NormClip",
    "Part",
    "StepLimit",
    "StepParameters",
    "WeightClip",
]

if not TYPE_CHECKING:  # to type checkers a module with a `__getattr__` has every name
    __getattr__ = renamed_in(
        __name__,
        {
            "Moved": "StepParameters",
        },
    )
