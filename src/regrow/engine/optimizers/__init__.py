"""Optimizers of a stack of networks: torch's own hold options and state, and one step moves all."""

from regrow.engine.optimizers.adam import Adam, AdamW
from regrow.engine.optimizers.base import StackOptimizer
from regrow.engine.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "StackOptimizer"]
