"""All networks of the oracle, by name."""

from __future__ import annotations

from oracle import attention, gates, images, recurrent, shared, unseen
from oracle.networks import NETWORKS, Network

KINDS = {
    "tensors that several use": shared,
    "pictures": images,
    "gates and norms": gates,
    "over time": recurrent,
    "attention, positions, several inputs": attention,
    "what the example does not show": unseen,
}


def kind_of(network: Network) -> str:
    """In which file it is."""
    module = network.make.__module__
    return next(kind for kind, each in KINDS.items() if each.__name__ == module)


__all__ = ["KINDS", "NETWORKS", "kind_of"]
