"""Optimizers of a stack of networks: torch's own as options and memory, one step for all."""

from regrow.engine.optimizers.adam import Adam, AdamW
from regrow.engine.optimizers.base import StackOptimizer
from regrow.engine.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "StackOptimizer"]
