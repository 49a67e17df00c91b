"""A layer with weight standardisation hears a filter behind zeros all the same: its weight is left alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from traced import attach_traced


class StandardisedConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:  # torch's name
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, training=True).reshape_as(self.weight)
        return F.conv2d(input, weight, self.bias)


@pytest.mark.parametrize("standardised", [True, False])
def test_a_reader_that_standardises_its_weight_is_left_alone_and_noted(standardised: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reader = (StandardisedConv if standardised else nn.Conv2d)(4, 5, 3)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), reader, nn.ReLU(), nn.Flatten(), nn.Linear(80, 2)
        )
        x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        net[0].weight[1] = 0.0
        net[0].bias[1] = -1.0  # filter 1 is dead
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, readers="zero"
    )
    regrower = attach_traced(
        recipe, net, optimizer, example_inputs=x, include=("0",), steps_per_epoch=1
    )
    for _ in range(2):
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()
    assert regrower.report.renewed >= 1
    silenced = not bool(reader.weight[:, 1].any())
    noted = any("0: kept in 2, which standardise weights" in note for note in regrower.report.notes)
    assert (silenced, noted) == (not standardised, standardised)
