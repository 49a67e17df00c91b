"""Pure tensor functions: no module, no state, no randomness, any leading axes."""

from regrow.functional.constants import constant_response
from regrow.functional.gradient import gradient_norm
from regrow.functional.masks import below, lowest, spare_best
from regrow.functional.moments import adam_update

__all__ = ["adam_update", "below", "constant_response", "gradient_norm", "lowest", "spare_best"]
