"""A recipe that changes all of a network's parameters at once, in one training."""

from regrow.loop.network.change import NetworkChange
from regrow.loop.network.fresh import FreshNetwork
from regrow.loop.network.parameters import KnownParameter, known_parameters

__all__ = ["FreshNetwork", "KnownParameter", "NetworkChange", "known_parameters"]
