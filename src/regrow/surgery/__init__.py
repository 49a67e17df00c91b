"""Exact edits of live training state: parameters, norm entries, optimizer state."""

from regrow.surgery.companions import Companion, copy_over_, is_companion
from regrow.surgery.counted import CountedNorms, counted_by_others
from regrow.surgery.edits import OptimizerSurgeon, Target, apply_edits_
from regrow.surgery.optimizers.slow import begin_slow_, refuse_slow_without_hooks
from regrow.surgery.unwrapped import unwrap_optimizer

__all__ = [
    "Companion",
    "CountedNorms",
    "OptimizerSurgeon",
    "Target",
    "apply_edits_",
    "begin_slow_",
    "copy_over_",
    "counted_by_others",
    "is_companion",
    "refuse_slow_without_hooks",
    "unwrap_optimizer",
]
