"""Exact edits of live training state: parameters, norm entries, optimizer state."""

from regrow.surgery.companions import Companion, copy_over_
from regrow.surgery.edits import apply_edits_
from regrow.surgery.optimizer_state import OptimizerSurgeon
from regrow.surgery.optimizers.slow import begin_slow_, refuse_slow_without_hooks
from regrow.surgery.unwrapped import unwrap_optimizer

__all__ = [
    "Companion",
    "OptimizerSurgeon",
    "apply_edits_",
    "begin_slow_",
    "copy_over_",
    "refuse_slow_without_hooks",
    "unwrap_optimizer",
]
