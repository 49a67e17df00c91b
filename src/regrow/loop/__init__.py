"""A recipe inside any training loop."""

from regrow.loop.attach import attach
from regrow.loop.detached import Detached
from regrow.loop.regrower import Regrower

__all__ = ["Detached", "Regrower", "attach"]
