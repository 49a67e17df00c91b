"""Whatever is measured, the model, its optimizer and all random numbers are what they were."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import regrow
from crossed import crossed
from health.sick import Cnn, Mlp, Vit, images
from regrow.errors import TraceError

X, Y = images(64)


def _loader() -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)


WAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "forward": lambda: {"batch_or_loader": X},
    "backward": lambda: {"batch_or_loader": X, "targets": Y},
    "own loss": lambda: {
        "batch_or_loader": X,
        "targets": Y,
        "loss": nn.functional.multi_margin_loss,
    },
    "steps": lambda: {"batch_or_loader": X, "targets": Y, "steps": 2},
    "loader": lambda: {"batch_or_loader": _loader()},
}


def _everything(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "state": {name: each.clone() for name, each in net.state_dict().items()},
        "versions": [each._version for each in net.parameters()],
        "grads": {
            name: None if each.grad is None else each.grad.clone()
            for name, each in net.named_parameters()
        },
        "needs": [each.requires_grad for each in net.parameters()],
        "training": [each.training for each in net.modules()],
        "hooks": [
            (len(each.__dict__["_forward_hooks"]), len(each.__dict__["_forward_pre_hooks"]))
            for each in net.modules()
        ],
        "places": [sorted(each.__dict__) for each in net.modules()],
        "global hooks": len(vars(nn.modules.module)["_global_forward_hooks"]),
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "random": torch.get_rng_state(),
        "python": random.getstate(),
        "grad mode": torch.is_grad_enabled(),
    }


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


NETS: dict[str, Callable[[], nn.Module]] = {
    "cnn": Cnn,
    "vit": Vit,
    "mlp": lambda: Mlp(nn.Tanh()),
}


@pytest.mark.parametrize(("name", "way"), crossed(NETS, WAYS))
def test_everything_is_as_it_was(name: str, way: str) -> None:
    net = NETS[name]()
    next(net.children()).eval()  # a part that its user keeps frozen
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    nn.functional.cross_entropy(net(X), Y).backward()
    optimizer.step()
    given = WAYS[way]()
    before = _everything(net, optimizer)
    named: dict[str, Any] = {} if way in {"forward", "loader"} else {"optimizer": optimizer}
    regrow.inspect(net, given.pop("batch_or_loader"), **given, **named)
    after = _everything(net, optimizer)
    for key in before:
        assert _same(before[key], after[key]), key


def test_it_is_so_after_an_error_too() -> None:
    net = Cnn()
    before = _everything(net, torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(TraceError, match="batch"):
        regrow.inspect(net, iter([X[:4], X[:4, :2]]))
    after = _everything(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert all(_same(before[key], after[key]) for key in before)


def test_a_loader_gives_what_one_batch_gives() -> None:
    net = Cnn()
    x, y = X[:14], Y[:14]  # of more than 15 examples gains are taken over some
    whole = regrow.inspect(net, x, targets=y)
    parts = regrow.inspect(net, [(x[:8], y[:8]), (x[8:], y[8:])])
    assert parts.examples == whole.examples == 14
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert one.units == other.units
        assert one.numbers == pytest.approx(other.numbers, rel=1e-4)


def test_the_inputs_are_as_they_were() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 3)
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.dense(x.mul_(2)).relu_())

    x = torch.randn(8, 4)
    kept = x.clone()
    regrow.inspect(Writing(), x)
    assert torch.equal(x, kept)
