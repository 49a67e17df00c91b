"""Whatever is measured, the model, its optimizer and all random numbers are what they were."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    TensorDataset,
)

import regrow
from crossed import crossed
from health.sick import Cnn, Mlp, Vit, images
from regrow.errors import ConfigError, TraceError

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


class _Sharded(Sampler[list[int]]):
    """Batches of a batch sampler inside, as Accelerate's."""

    def __init__(self, batch_sampler: BatchSampler) -> None:
        self.batch_sampler = batch_sampler

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batch_sampler)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_generator_deep_inside_a_loader_goes_on_as_if_nobody_had_looked(sharded: bool) -> None:
    generator, data = torch.Generator().manual_seed(3), TensorDataset(X, Y)
    batches = BatchSampler(RandomSampler(data, generator=generator), 16, drop_last=False)
    loader = DataLoader(data, batch_sampler=_Sharded(batches) if sharded else batches)
    before = generator.get_state()
    regrow.inspect(Cnn(), loader)
    assert torch.equal(generator.get_state(), before)


def test_numbers_of_numpys_that_a_data_set_draws_are_drawn_again() -> None:
    class Noisy(Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
            return X[place] + float(np.random.rand()), Y[place]  # noqa: NPY002 # as users do

    loader = DataLoader(Noisy(), batch_size=4)
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    regrow.inspect(Cnn(), loader)
    assert np.random.rand() == expected  # noqa: NPY002


def test_an_optimizer_that_draws_leaves_the_random_numbers() -> None:
    class Noisy(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            with torch.no_grad():
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter.add_(torch.randn_like(parameter))

    net = Cnn()
    before = torch.get_rng_state()
    health = regrow.inspect(net, X, targets=Y, optimizer=Noisy(net.parameters(), lr=0.1))
    assert health["two"].numbers["step"] > 1
    assert torch.equal(torch.get_rng_state(), before)


def test_the_probe_seeds_no_gpu_that_is_not_in_use_yet() -> None:
    net = Mlp(nn.ReLU())
    torch.manual_seed(5)  # is kept for when a GPU is first used
    kept = vars(torch.cuda)["_lazy_seed_tracker"]
    before = kept.manual_seed_all_cb
    regrow.inspect(net, X, targets=Y, steps=1)
    assert kept.manual_seed_all_cb is before


class _Wrapper(torch.optim.Optimizer):
    """An optimizer that has another one step, as Accelerate's does."""

    def __init__(self, optimizer: torch.optim.Optimizer, name: str) -> None:
        super().__init__(optimizer.param_groups, {})
        self.name = name
        setattr(self, name, optimizer)

    def step(self, closure: Any = None) -> None:
        getattr(self, self.name).step(closure)


def test_an_optimizer_inside_a_wrapper_is_not_stepped() -> None:
    net = Cnn()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    nn.functional.cross_entropy(net(X), Y).backward()
    before = _everything(net, optimizer)
    told = regrow.inspect(net, X, targets=Y, steps=1, optimizer=_Wrapper(optimizer, "optimizer"))
    after = _everything(net, optimizer)
    assert all(_same(before[key], after[key]) for key in before)
    assert told == regrow.inspect(net, X, targets=Y, steps=1, optimizer=optimizer)
    with pytest.raises(ConfigError, match="_Wrapper steps the one that it holds as inner"):
        regrow.inspect(net, X, targets=Y, optimizer=_Wrapper(optimizer, "inner"))
