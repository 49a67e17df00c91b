"""Who reads whom in a model: filters, norms and readers, by parameter name and module path.

* `trace`: run a model once and get its `Wiring`.
* `unwrap`: the network whose parameter names the wiring uses.
* `gates`: layers whose filters switch others.
* `Policy`, `Streams`, `streams_of`: what is read together, and what is done there.
* `Wiring`, `Filters`, `Norm`, `NormTensor`, `Reader`: what was found.
* `ChannelNorm`: what a normalisation layer of another kind says of itself.
"""

from regrow.graph.calling import ExampleInputs
from regrow.graph.declared import ChannelNorm
from regrow.graph.filters import Filters, LayerKind, Norm, NormTensor, Reader
from regrow.graph.gates import Gate, gates
from regrow.graph.streams import Policy, Streams, as_one, is_shared, streams_of
from regrow.graph.trace import trace, unwrap
from regrow.graph.wiring import Wiring

__all__ = [
    "ChannelNorm",
    "ExampleInputs",
    "Filters",
    "Gate",
    "LayerKind",
    "Norm",
    "NormTensor",
    "Policy",
    "Reader",
    "Streams",
    "Wiring",
    "as_one",
    "gates",
    "is_shared",
    "streams_of",
    "trace",
    "unwrap",
]
