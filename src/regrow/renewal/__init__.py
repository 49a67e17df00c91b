"""Renewals: what a marked filter becomes.

* `Redraw`: fresh weights, and what belongs to them as told; with ``preserve=True`` without a jump of the output.
* `Edit`, `Layer`, `Activity`, `ReaderActivity`, `Renewal`: what a renewal takes and gives.
"""

from regrow.renewal.base import Activity, Edit, Layer, ReaderActivity, Renewal
from regrow.renewal.redraw import Redraw

__all__ = ["Activity", "Edit", "Layer", "ReaderActivity", "Redraw", "Renewal"]
