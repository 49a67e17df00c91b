"""What is read in training passes: each pass once, the same numbers as a plain loop in float64, and no bit changed."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

import regrow
from crossed import seldom
from regrow.activity import ActivityMeter
from regrow.activity.readings import PassReading

IMAGES = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def _kill(layer: nn.Module, unit: int) -> None:
    with torch.no_grad():
        layer.weight[unit] = 0.0  # type: ignore[index]
        layer.bias[unit] = -100.0  # type: ignore[index]


class _Reader:
    """A meter, and somebody who asks it for all layers."""

    def __init__(self, net: nn.Module, *, sums: bool = True, example: Any = IMAGES[:2]) -> None:
        self.wiring = regrow.trace(net, example)
        self.meter = ActivityMeter.of(net, self.wiring)
        layers = [path for path in self.wiring if self.meter.knows(path)]
        self.meter.ask(self, frozenset(layers), sums=sums)

    def take(self) -> list[dict[str, PassReading]]:
        return self.meter.take(self)


@pytest.fixture
def net(small_cnn: Callable[[int], nn.Module]) -> nn.Module:
    made = small_cnn(0)
    _kill(made[3], 2)  # type: ignore[index]
    return made


def test_sums_and_silence_are_those_of_a_plain_loop(net: nn.Module) -> None:
    reader = _Reader(net)
    twin = copy.deepcopy(net).double()
    net(IMAGES).sum().backward()
    (found,) = reader.take()
    assert set(found) == {"0", "3"}
    maps = IMAGES.double()
    for path, layers in (("0", range(3)), ("3", range(3, 5))):
        for index in layers:
            maps = twin[index](maps)  # type: ignore[index]
        reading = found[path]
        for unit in range(maps.shape[1]):
            values = [float(value) for value in maps[:, unit].detach().flatten()]
            sums = (sum(values), sum(map(abs, values)), sum(v > 0 for v in values), len(values))
            assert reading.sums is not None
            assert reading.sums[:, unit].tolist() == pytest.approx(sums, rel=1e-5, abs=1e-4)
            assert bool(reading.silent[unit]) == (len(set(values)) == 1)
        assert bool(reading.seen.all())
        assert not bool(reading.starved.any())
        assert reading.examples == 12
    assert found["3"].silent.tolist() == [False, False, True, False, False, False]


def test_of_a_large_batch_some_examples_are_summed(net: nn.Module) -> None:
    """Every sixth of 96; who is silent is known of all of them."""
    reader = _Reader(net)
    images = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    net(images).sum().backward()
    (found,) = reader.take()
    maps = net[1](net[0](images)).relu().detach().double()[::6]  # type: ignore[index, operator]
    sums = found["0"].sums
    assert sums is not None
    assert found["0"].examples == 96
    assert sums[3].tolist() == [16 * 36] * 4
    torch.testing.assert_close(sums[0], maps.sum((0, 2, 3)), rtol=1e-5, atol=1e-3)


def test_passes_are_bit_equal_with_and_without(net: nn.Module) -> None:
    net.insert(3, nn.Dropout(0.5))  # type: ignore[operator]
    other = copy.deepcopy(net)
    _Reader(net)
    for seed in range(3):
        for each in (net, other):
            torch.manual_seed(seed)
            each(IMAGES).sum().backward()
    for (name, one), two in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        assert torch.equal(one.grad, two.grad)


def test_two_who_ask_are_read_for_once(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _Reader(net), _Reader(net)
    assert first.meter is second.meter
    reads: list[int] = []
    for each in first.meter._passes.values():
        for outlet in each.outlets:
            whole = outlet.read
            monkeypatch.setattr(
                outlet,
                "read",
                lambda x, whole=whole, **how: (reads.append(1), whole(x, **how)),
            )
    net(IMAGES).sum().backward()
    assert len(reads) == 2  # one for each layer
    assert (
        [list(each) for each in first.take()]
        == [list(each) for each in second.take()]
        == [["0", "3"]]
    )


def test_what_is_no_training_does_not_count(net: nn.Module) -> None:
    reader = _Reader(net)
    with torch.no_grad():
        net(
            IMAGES
        )  # validation that forgot eval(), the other half of a GAN, acting in an environment
    with torch.inference_mode():
        net(IMAGES)
    net.eval()
    net(IMAGES)
    net.train()
    assert reader.take() == []
    net(IMAGES)
    assert len(reader.take()) == 1


def test_micro_batches_are_passes_of_one_step(net: nn.Module) -> None:
    reader = _Reader(net)
    for part in IMAGES.split(4):
        net(part).sum().backward()
    assert [each["0"].examples for each in reader.take()] == [4, 4, 4]


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_run_again_for_the_backward_pass_counts_once(reentrant: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU())
            self.head = nn.Linear(96, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = checkpoint(self.body, x, use_reentrant=reentrant)
            return self.head(maps.flatten(1))

    net = Net()
    reader = _Reader(net)
    net(IMAGES.clone().requires_grad_()).sum().backward()
    found = reader.take()
    assert [sorted(each) for each in found] == [["body.0", "body.2"]]
    assert [each["body.0"].examples for each in found] == [12]


def test_a_part_that_is_called_by_itself_is_seen(net: nn.Module) -> None:
    reader = _Reader(net)
    maps = net[:3](IMAGES)  # type: ignore[index]
    net[3:](maps).sum().backward()  # type: ignore[index]
    layers = [sorted(each) for each in reader.take()]
    assert layers == [["0"], ["3"]]


def test_a_pass_that_raises_leaves_nothing(net: nn.Module) -> None:
    reader = _Reader(net)
    with pytest.raises(RuntimeError):
        net(torch.randn(4, 1, 9, 9))  # the last layer does not fit
    net(IMAGES)
    (found,) = reader.take()
    assert found["0"].examples == 12


def test_a_single_value_counts_if_it_is_zero() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    reader = _Reader(net, example=torch.zeros(1, 4))
    net(torch.randn(1, 4)).sum().backward()
    net(torch.randn(2, 4)).sum().backward()
    one, two = reader.take()
    assert one["0"].silent.tolist() == [True, True, False]
    assert two["0"].silent.tolist() == [True, True, True]


def test_who_hears_constants_is_starved(net: nn.Module) -> None:
    for unit in range(4):
        with torch.no_grad():
            net[1].weight[unit] = 0.0  # type: ignore[index]
            net[1].bias[unit] = -1.0  # type: ignore[index]
    reader = _Reader(net)
    net(IMAGES).sum().backward()
    (found,) = reader.take()
    assert bool(found["0"].silent.all())
    assert bool(found["3"].silent.all())
    assert bool(found["3"].starved.all())
    assert not bool(found["0"].starved.any())


def test_other_widths_and_other_ways_are_not_taken_for_those_that_were_traced() -> None:
    class Slim(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 2)
            self.width, self.twice = 8, False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(F.linear(x, self.a.weight[: self.width], self.a.bias[: self.width]))
            if self.twice:
                x = F.linear(F.linear(x, self.b.weight), self.b.weight.t())
            return F.linear(x, self.b.weight[:, : self.width], self.b.bias)

    net = Slim()
    reader = _Reader(net, example=torch.zeros(2, 5))
    x = torch.randn(7, 5)
    net(x).sum().backward()
    net.width = 4
    net(x).sum().backward()
    net.width, net.twice = 8, True
    net(x).sum().backward()
    seen = [bool(each["a"].seen.all()) if "a" in each else None for each in reader.take()]
    assert seen == [True, False, False]


def test_an_expert_without_tokens_gives_nothing() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            made = [nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4)) for _ in range(2)]
            self.experts = nn.ModuleList(made)
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = torch.zeros_like(x)
            for number, expert in enumerate(self.experts):
                mine = (x[:, 0] > 0) == bool(number)
                out = out.index_add(0, mine.nonzero()[:, 0], expert(x[mine]))
            return self.head(out)

    net = Experts()
    reader = _Reader(net, example=torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))
    net(torch.randn(6, 4).abs()).sum().backward()
    (found,) = reader.take()
    assert "experts.1.0" in found
    assert "experts.0.0" not in found


def test_autocast_is_read_as_it_runs(net: nn.Module) -> None:
    reader = _Reader(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(IMAGES).float().sum().backward()
    (found,) = reader.take()
    assert found["3"].silent.tolist() == [False, False, True, False, False, False]


def test_copies_take_nothing_along(net: nn.Module) -> None:
    reader = _Reader(net)
    for other in (copy.deepcopy(net), AveragedModel(net).module):
        other(IMAGES).sum().backward()
    buffer = io.BytesIO()
    torch.save(net, buffer)
    buffer.seek(0)
    torch.load(buffer, weights_only=False)(IMAGES).sum().backward()
    assert reader.take() == []
    reader.meter.leave(reader)
    net(IMAGES)
    assert reader.take() == []


class TestCompiled:
    """There nobody sees what happens inside: the pass is run once more, eagerly, and leaves no trace."""

    @pytest.fixture(autouse=True)
    def _fresh(self) -> Generator[None]:
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    @pytest.mark.parametrize(
        "how",
        seldom(["wrapper", "model", "later", "part", "in place"], often=["later"]),
    )
    def test_each_way_of_compiling(
        self, how: str, net: nn.Module, small_cnn: Callable[[int], nn.Module]
    ) -> None:
        other = copy.deepcopy(net)

        class Own(nn.Module):
            def __init__(self, inner: nn.Module) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.inner(x)

        def compiled(module: nn.Module) -> Any:
            return torch.compile(module, backend="aot_eager", fullgraph=True)

        if how == "part":
            bare: nn.Module = nn.Sequential(compiled(net[:5]), *net[5:])  # type: ignore[index]
            called, plain = bare, nn.Sequential(compiled(other[:5]), *other[5:])  # type: ignore[index]
        elif how == "in place":
            bare, plain = Own(net), Own(other)
            bare.compile(backend="aot_eager", fullgraph=True)
            plain.compile(backend="aot_eager", fullgraph=True)
            called = bare
        else:
            bare, called, plain = net, compiled(net), compiled(other)
        wiring = regrow.trace(bare, IMAGES[:2])
        meter = ActivityMeter.of(bare, wiring, called=called if how == "wrapper" else bare)
        layers = frozenset(path for path in wiring if meter.knows(path))
        if how == "later":
            called(IMAGES).sum().backward()
            plain(IMAGES).sum().backward()
        meter.ask(self, layers)
        for _ in range(3):
            called(IMAGES).sum().backward()
            plain(IMAGES).sum().backward()
            meter.look_for_wrappers()
        found = meter.take(self)
        assert len(found) >= 2
        (silent,) = [each.silent for path, each in found[-1].items() if len(each.silent) == 6]
        assert silent.tolist() == [False, False, True, False, False, False]
        for one, two in zip(called.state_dict().values(), plain.state_dict().values(), strict=True):
            assert torch.equal(one, two)
        for one, two in zip(called.parameters(), plain.parameters(), strict=True):
            assert one.grad is not None
            assert two.grad is not None
            assert torch.equal(one.grad, two.grad)
