"""What trains networks: plain modules one after the other, or the stacks of `regrow.engine`."""

from regrow.lab.engines.choice import ENGINES, choose, engine_named, refusal
from regrow.lab.engines.engine import Engine
from regrow.lab.engines.modules import ModuleEngine
from regrow.lab.engines.stack import StackEngine

__all__ = [
    "ENGINES",
    "Engine",
    "ModuleEngine",
    "StackEngine",
    "choose",
    "engine_named",
    "refusal",
]
