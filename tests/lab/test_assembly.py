from __future__ import annotations

import pytest
from torch import nn
from torch.optim import SGD, AdamW

from regrow.errors import ConfigError
from regrow.lab.assembly import build_optimizer, steps_per_epoch
from regrow.study.document import Training


@pytest.mark.parametrize(
    ("batch", "drop_last", "steps"), [(16, False, 6), (20, False, 5), (20, True, 4), (97, True, 0)]
)
def test_steps_of_an_epoch(batch: int, drop_last: bool, steps: int) -> None:
    training = Training(batch_size=batch, drop_last=drop_last)
    assert steps_per_epoch(training, 96) == steps


def test_optimizers_have_their_settings() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="must have parameters to train, Identity has none"):
        build_optimizer(Training(), nn.Identity())
    settings = {"lr": 0.5, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    sgd = build_optimizer(Training.model_validate(settings), model)
    assert isinstance(sgd, SGD)
    assert {key: sgd.defaults[key] for key in settings} == settings
    adamw = build_optimizer(Training(optimizer="adamw", lr=0.5, weight_decay=0.1), model)
    assert isinstance(adamw, AdamW)
    assert (adamw.defaults["lr"], adamw.defaults["weight_decay"]) == (0.5, 0.1)
