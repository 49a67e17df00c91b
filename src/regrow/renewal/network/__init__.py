"""Renewals of a whole network: what becomes of all of its parameters at once.

* `ShrinkAndAdd`: smaller, with a share of a fresh network, or of its own beginning.
* `Pull`: towards its own beginning, a little in every step.
* `Isometry`: the nearest weights that keep lengths.
* `NetworkRenewal`, `NetworkTensor`, `NetworkNeed`: what such a renewal takes and gives.
"""

from regrow.renewal.network.base import NetworkNeed, NetworkRenewal, NetworkTensor
from regrow.renewal.network.isometry import Isometry
from regrow.renewal.network.pull import Pull
from regrow.renewal.network.shrink_and_add import ShrinkAndAdd

__all__ = [
    "Isometry",
    "NetworkNeed",
    "NetworkRenewal",
    "NetworkTensor",
    "Pull",
    "ShrinkAndAdd",
]
