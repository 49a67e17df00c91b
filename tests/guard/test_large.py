"""Large layers: a step within the limit is measured without memory for all of it, and nothing else changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from guard.driving import Batch, bits, drive, guarding, same_bits
from regrow.guard import StepLimit, moved
from regrow.guard.moved import distances_of


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(300, 400), nn.ReLU(), nn.Linear(400, 3))


def batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(16, 300, generator=generator),
            torch.randint(0, 3, (16,), generator=generator),
        )
        for _ in range(count)
    ]


class Sizes(TorchDispatchMode):
    """The largest tensor that anybody makes inside, in numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        made = found if isinstance(found, (list, tuple)) else [found]
        storages = {
            each.untyped_storage().data_ptr()
            for each in torch.utils._pytree.tree_leaves(args)
            if isinstance(each, Tensor)
        }
        for each in made:
            if isinstance(each, Tensor) and each.untyped_storage().data_ptr() not in storages:
                self.largest = max(self.largest, each.numel())
        return found


def test_no_memory_for_a_whole_step() -> None:
    """Adam's step at this rate is within the limit; the layer has 120,000 numbers."""
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    guard = guarding(StepLimit(), net, torch.zeros(2, 300))
    drive(net, optimizer, batches(2), guard)
    (x, y) = batches(1)[0]
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    with Sizes() as sizes:
        guard.before_step_(optimizer)
    optimizer.step()
    with sizes:
        guard.after_step_(optimizer)
    assert guard.hits == {}
    assert 0 < sizes.largest <= 2**16 * torch.get_num_threads()


@pytest.mark.parametrize("by", ["layer", "network", "unit"])
@pytest.mark.parametrize("lr", [1e-4, 2e-3, 0.05])
def test_the_decisions_are_those_by_the_whole_step(
    by: Any, lr: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rates at which no step, some steps and all steps are too long."""
    one = network()
    other = copy.deepcopy(one)
    hits: list[dict[str, int]] = []
    for net, piece in ((one, moved._PIECE), (other, 10**9)):
        monkeypatch.setattr(moved, "_PIECE", piece)
        optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        guard = guarding(StepLimit(by=by), net, torch.zeros(2, 300))
        drive(net, optimizer, batches(6), guard)
        hits.append(guard.hits)
    assert hits[0] == hits[1]
    assert same_bits(bits(one), bits(other))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances(dtype: torch.dtype) -> None:
    """In pieces, of which the last is shorter; also where the numbers do not lie in a row."""
    generator = torch.Generator().manual_seed(0)
    ones = [torch.randn(*shape, generator=generator).to(dtype) for shape in ((700, 300), (5,))]
    others = [each + 0.01 * torch.randn(each.shape, generator=generator) for each in ones]
    exact = [float((a.double() - b.double()).norm()) for a, b in zip(ones, others, strict=True)]
    assert distances_of(ones, others) == pytest.approx(exact, rel=1e-4)
    turned = [each.mT if each.ndim == 2 else each for each in ones]
    beside = [each.mT if each.ndim == 2 else each for each in others]
    assert distances_of(turned, beside) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_step_to_no_number_is_taken_back(value: float) -> None:
    net = network()
    before = bits(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    guard = guarding(StepLimit(), net, torch.zeros(2, 300))
    (x, y) = batches(1)[0]
    nn.functional.cross_entropy(net(x), y).backward()
    guard.before_step_(optimizer)
    with torch.no_grad():
        net[0].weight[3, 5] = value
    guard.after_step_(optimizer)
    assert guard.hits == {"0": 1}
    assert same_bits(bits(net), before)
