"""The arithmetic of a training step: plain modules, or the stacks of `regrow.engine`."""

from regrow.lab.engines.choice import ENGINES, EngineName, refusal
from regrow.lab.engines.modules import ModuleSteps
from regrow.lab.engines.stack import StackSteps
from regrow.lab.engines.steps import Steps

__all__ = ["ENGINES", "EngineName", "ModuleSteps", "StackSteps", "Steps", "refusal"]
