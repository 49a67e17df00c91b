"""Filters that are out of the network for a while: who may leave, what they were, and that nothing moves them."""

from regrow.loop.drop.absent import absent_from
from regrow.loop.drop.choice import Choice
from regrow.loop.drop.layers import droppable, refuse_endless
from regrow.loop.drop.phase import DropPhase

__all__ = ["Choice", "DropPhase", "absent_from", "droppable", "refuse_endless"]
