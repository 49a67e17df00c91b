"""How much of its own weights a network keeps when it takes over a partner's.

* `ByInformation`: the layer that carries more information keeps more.
* `Weighing`: what a weighing takes and gives; `Measure`: what is taken for a layer's information.
"""

from regrow.weighing.by_information import ByInformation, Measure, Weighing

__all__ = ["ByInformation", "Measure", "Weighing"]
