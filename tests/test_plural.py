"""Nouns as their number has them, in what users read."""

import torch
from torch import nn

import regrow
from regrow._plural import plural


def test_a_noun_and_its_verb() -> None:
    assert [plural(number, "unit") for number in (0, 1, 2)] == ["units", "unit", "units"]
    assert plural(1, "boundary was", "boundaries were") == "boundary was"
    assert plural(3, "boundary was", "boundaries were") == "boundaries were"


def test_reports_of_one_layer_of_one_unit() -> None:
    net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2))
    health = str(regrow.inspect(net, torch.ones(1, 2)))
    assert health.startswith("2 layers, 3 units, 1 example; from ")
    with torch.no_grad():
        net[0].bias.fill_(-9.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recipe = regrow.RandomOut(confirm="gradient", active_fraction=1.0)
    regrower = regrow.attach(
        recipe, net, optimizer, example_inputs=torch.ones(1, 2), layers=("linear",)
    )
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    first, layer = str(regrower.report).splitlines()[:2]
    assert first.startswith("randomout: 1 renewal in 1 step, 1 check, ")
    assert layer == "  0: 1 renewal of 1 of 1 filter"
