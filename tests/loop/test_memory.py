"""What was attached keeps nobody alive: neither the model, nor its optimizer, nor itself."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from weakref import ref

import pytest
import torch
from torch import nn

import regrow
from crossed import crossed
from regrow.compose import Recipe

RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "gradients": lambda: regrow.RandomOut(threshold=0.3, active_fraction=1.0, confirm="gradient"),
    "passes": lambda: regrow.ContinualBackprop(rate=0.2, maturity=1),
    "looks": lambda: regrow.RandomOut(threshold=0.3, active_fraction=1.0, look_every=1),
    "newest batch": lambda: regrow.KeepAlive(draw="centred"),
    "out of the network": lambda: regrow.RePr(s1=2, s2=9, cycles=1, unit="steps", fraction=0.3),
    "whole network": lambda: regrow.ShrinkPerturb(every_steps=2),
}


@pytest.mark.parametrize(("name", "end"), crossed(RECIPES, ["detached", "in the middle"]))
def test_what_nobody_holds_is_given_back(name: str, end: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 3))
    optimizer = torch.optim.Adam(model.parameters())
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    regrower = regrow.attach(RECIPES[name](), model, optimizer, example_inputs=images, seed=0)
    for _ in range(4):
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
    if end == "detached":
        regrower.bring_back()
        regrower.detach()
    left = [ref(model), ref(optimizer), ref(regrower)]
    del model, optimizer, regrower
    gc.collect()
    assert [each() for each in left] == [None, None, None]
