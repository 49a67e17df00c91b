"""What filters give their readers in the forward passes of a training, read while they run.

* `ActivityMeter`: of one model, for whoever asks, once a pass.
* `KeptCall`: what a pass was called with.
"""

from regrow.activity.kept_calls import KeptCall
from regrow.activity.meter import ActivityMeter

__all__ = ["ActivityMeter", "KeptCall"]
