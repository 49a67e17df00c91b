"""What several networks are worth together: their ensemble, the mean of their weights, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from regrow.lab.assembly import build_model
from regrow.lab.measure import accuracy_of, logits_of
from regrow.study.generator_keys import generator_key
from regrow.study.partner_records import PartnerRecord, TogetherRecord

if TYPE_CHECKING:
    from regrow.lab.data import Dataset
    from regrow.study.trials import TrialSpec

_BATCH = 500


def together(
    models: Sequence[nn.Module], last: Sequence[PartnerRecord], *, spec: TrialSpec, data: Dataset
) -> tuple[TogetherRecord, ...]:
    """Measure several networks of a trial as one, on the test set: the controls for anything that joins them.

    ``ensemble``: the mean of the probabilities; ``mean weights``: statistics of batch norms measured anew on the
    training images; ``best``: picked by what is held out, or else by the training loss of the last epoch.
    """

    def tested(model: nn.Module) -> float:
        return accuracy_of(logits_of(model, data.x_test), data.y_test)

    softened = [logits_of(model, data.x_test).double().softmax(1) for model in models]
    ensemble = accuracy_of(torch.stack(softened).mean(0), data.y_test)
    mean_weights = tested(_mean_weights(models, spec=spec, data=data))
    if data.held_out is None:
        losses = [math.inf if one.train_loss is None else one.train_loss for one in last]
        best = losses.index(min(losses))
    else:
        images, labels = data.held_out
        best = max(
            range(len(models)), key=lambda k: accuracy_of(logits_of(models[k], images), labels)
        )
    return (
        TogetherRecord(how="ensemble", test_accuracy=ensemble),
        TogetherRecord(how="mean weights", test_accuracy=mean_weights),
        TogetherRecord(how="best", test_accuracy=tested(models[best]), partner=best),
    )


def _mean_weights(models: Sequence[nn.Module], *, spec: TrialSpec, data: Dataset) -> nn.Module:
    """A network with the mean of all weights; statistics of norms belong to activations that it has not."""
    states = [model.state_dict() for model in models]
    found = build_model(spec, data, seed=spec.seed)
    found.load_state_dict(
        {
            name: torch.stack([state[name] for state in states]).mean(0)
            if first.is_floating_point()
            else first
            for name, first in states[0].items()
        }
    )
    # For dropout in the pass over the data.
    torch.manual_seed(generator_key("mean weights", spec.seed, 0))
    with torch.no_grad():
        update_bn(data.x_train.split(_BATCH), found)
    return found
