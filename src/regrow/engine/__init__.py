"""Many small networks at once: hand-written passes in memory that several networks share, network by network exact."""

from regrow.engine.answers import Answers
from regrow.engine.describe import UnsupportedError
from regrow.engine.optimizers import SGD, Adam, AdamW, StackOptimizer
from regrow.engine.program import Program, program_of
from regrow.engine.stack import Stack

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Answers",
    "Program",
    "Stack",
    "StackOptimizer",
    "UnsupportedError",
    "program_of",
]
