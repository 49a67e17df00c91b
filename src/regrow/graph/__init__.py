"""Who reads whom in a model: filters, norms and readers, by parameter name and module path.

* `trace`: run a model once and get its `Wiring`.
* `unwrap`: the network whose parameter names the wiring uses.
* `Wiring`, `Filters`, `Norm`, `Reader`: what was found.
"""

from regrow.graph.filters import Filters, LayerKind, Norm, Reader
from regrow.graph.trace import ExampleInputs, trace, unwrap
from regrow.graph.wiring import Wiring

__all__ = ["ExampleInputs", "Filters", "LayerKind", "Norm", "Reader", "Wiring", "trace", "unwrap"]
