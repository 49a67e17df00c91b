"""All networks of the oracle, by name."""

from __future__ import annotations

from oracle import images, sequences, shared, unseen
from oracle.networks import NETWORKS, Network

KINDS = {
    "tensors that several use": shared,
    "pictures": images,
    "sequences, sets, several inputs": sequences,
    "what the example does not show": unseen,
}


def kind_of(network: Network) -> str:
    """In which file it is."""
    module = network.make.__module__
    return next(kind for kind, each in KINDS.items() if each.__name__ == module)


__all__ = ["KINDS", "NETWORKS", "kind_of"]
