"""What is wrong with a network: measured, named, and said with what has helped.

* `inspect`: of a network and a batch or a loader.
* `Health`, `LayerHealth`: what was found.
* `Symptom`, `Advice`, `Comparison`: what of it matters, what to do, what has changed.
* `MEASURES`, `Measure`: every measure with its formula and source; `OF_UNITS`: the keys of those that name units.
* `RULES`, `Rule`: every piece of advice with its condition and source.
* `Thresholds`: from which number on something is named.
"""

from regrow.health.advice import RULES, Advice, Rule
from regrow.health.comparison import Change, Comparison
from regrow.health.health import Health
from regrow.health.inspecting import inspect
from regrow.health.layer_health import LayerHealth
from regrow.health.measures import MEASURES, OF_UNITS, Measure
from regrow.health.symptoms import Symptom
from regrow.health.thresholds import Thresholds

__all__ = [
    "MEASURES",
    "OF_UNITS",
    "RULES",
    "Advice",
    "Change",
    "Comparison",
    "Health",
    "LayerHealth",
    "Measure",
    "Rule",
    "Symptom",
    "Thresholds",
    "inspect",
]
