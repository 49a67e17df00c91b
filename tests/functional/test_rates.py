"""Rates that fall with the age, against what torch's optimizers keep of theirs."""

import pytest
import torch
from torch import optim

from regrow.functional import adagrad_rate, asgd_rate, asgd_share


@pytest.mark.parametrize("t0", [-3.0, 0.0, 4.0])
def test_asgd_keeps_these_for_its_next_step(t0: float) -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = optim.ASGD([weight], lr=0.1, lambd=0.5, alpha=0.9, t0=t0)
    for step in range(1, 9):
        weight.grad = torch.ones(1)
        if step > 1:
            share = optimizer.state[weight]["mu"].item()
            assert asgd_share(torch.tensor(float(step)), t0=t0).item() == pytest.approx(share)
        optimizer.step()
        rate = asgd_rate(torch.tensor(float(step)), lr=0.1, lambd=0.5, alpha=0.9).item()
        assert rate == pytest.approx(optimizer.state[weight]["eta"].item())
    assert asgd_share(torch.tensor(1.0), t0=t0).item() == 1.0


def test_adagrad_steps_by_it() -> None:
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = optim.Adagrad([weight], lr=0.1, lr_decay=0.5, eps=0.0)
    for step in range(1, 9):
        before = weight.item()
        weight.grad = torch.ones(1, dtype=torch.float64)
        optimizer.step()
        rate = adagrad_rate(torch.tensor(float(step), dtype=torch.float64), lr=0.1, lr_decay=0.5)
        assert (before - weight.item()) * step**0.5 == pytest.approx(rate.item())
