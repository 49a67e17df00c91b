"""Networks that are trained side by side and lend each other weights, in one process or on many ranks."""

from regrow.partners.attach import attach_partners
from regrow.partners.grafter import Grafter

__all__ = ["Grafter", "attach_partners"]
