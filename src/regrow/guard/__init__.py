"""Guards: what one optimizer step may do to a layer.

* `StepLimit`: no step moves a layer by more than a share of its length.
* `AdaptiveClip`, `NormClip`: gradients are clipped, unit by unit or as a whole.
* `WeightClip`: weights stay within the bounds of their initialiser.
* `Guard`: the base; `Guarding`: a guard in one training; `Group`, `Moved`, `Part`: what it is shown.
"""

from regrow.guard.adaptive_clip import AdaptiveClip
from regrow.guard.base import Guard
from regrow.guard.guarding import Guarding
from regrow.guard.moved import Group, Moved, Part
from regrow.guard.norm_clip import NormClip
from regrow.guard.step_limit import StepLimit
from regrow.guard.weight_clip import WeightClip

__all__ = [
    "AdaptiveClip",
    "Group",
    "Guard",
    "Guarding",
    "Moved",
    "NormClip",
    "Part",
    "StepLimit",
    "WeightClip",
]
