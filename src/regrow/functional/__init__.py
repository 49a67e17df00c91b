"""Pure tensor functions: no module, no state, no randomness, any leading axes."""

from regrow.functional.constants import constant_response
from regrow.functional.gradient import gradient_norm
from regrow.functional.masks import below, lowest, spare_best
from regrow.functional.moments import adam_update, adamax_update
from regrow.functional.nesterov import nadam_momentum, nadam_update
from regrow.functional.rates import adagrad_rate, asgd_rate, asgd_share
from regrow.functional.rectified import radam_update

__all__ = [
    "adagrad_rate",
    "adam_update",
    "adamax_update",
    "asgd_rate",
    "asgd_share",
    "below",
    "constant_response",
    "gradient_norm",
    "lowest",
    "nadam_momentum",
    "nadam_update",
    "radam_update",
    "spare_best",
]
