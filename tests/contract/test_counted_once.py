"""What is counted once for a whole tensor, outside the optimizer: a renewed channel has what a fresh one would have."""

import copy
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim.swa_utils import (
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
)
from torch.utils._python_dispatch import TorchDispatchMode

import regrow
from contract.rows import DATA, FEW, SAMPLE, VARIANTS
from crossed import crossed
from regrow.errors import StateError
from traced import attach_traced

STEPS = 20
BEFORE = 10
"""Batches that the norms have seen before the recipe is attached."""


class Net(nn.Module):
    """Two layers with norms that average all batches alike, and a third with a moving average."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.random.get_rng_state()
        torch.manual_seed(0)
        self.a, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=None)
        self.b, self.norm_b = nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, momentum=None, affine=False)
        self.head = nn.Linear(6 * 16, 3)
        torch.random.set_rng_state(drawn)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.a(x)))
        return self.head(F.relu(self.norm_b(self.b(x))).flatten(1))


def _batch(step: int) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(step)
    images = torch.randn(6, 1, 8, 8, generator=drawn) * (1.0 + 0.2 * (step % 3)) + 0.1 * (step % 5)
    return images, torch.arange(6) % 3


WIRING = regrow.trace(Net(), torch.zeros(2, 1, 8, 8))


def _recipe(name: str) -> regrow.Recipe:
    """A recipe that acts on this model: what the control replays has its layers."""
    acts = dict(VARIANTS[name].acts)
    if name == "randomout":
        acts["threshold"] = 2.0
    if name == "random":
        acts["like"] = [
            replace(event, layer={"0": "a", "3": "b"}[event.layer]) for event in acts["like"]
        ]
    return VARIANTS[name].make(**acts)


class Run:
    """A training that notes for every channel, in float64, what its norm has seen of it since it was born."""

    def __init__(self, name: str) -> None:
        row = VARIANTS[name]
        self.net = Net()
        row.prepare(self.net)
        for step in range(BEFORE):
            self.net(_batch(1000 + step)[0])
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.05)
        self.regrower = regrow.attach(
            _recipe(name),
            self.net,
            self.optimizer,
            wiring=WIRING,
            total_steps=STEPS,
            steps_per_epoch=5,
            **DATA,
        )
        self.seen: dict[tuple[str, int], list[tuple[float, float]] | None] = {}

    def train(self, steps: range, *, passes: int = 1) -> None:
        for step in steps:
            self.optimizer.zero_grad()
            for part in range(passes):
                images, labels = _batch(step + 100 * part)
                self._note(images)
                F.cross_entropy(self.net(images), labels).backward()
            self.optimizer.step()
            for event in self.regrower.report.events:
                if event.step == step:
                    for index in event.filters:
                        self.seen[event.layer, index] = []

    def _note(self, images: Tensor) -> None:
        """Mean and variance of this batch, worked out apart."""
        if not self.seen:
            return
        whole = copy.deepcopy(self.net).double().train()
        with torch.no_grad():
            a = whole.a(images.double())
            b = whole.b(F.relu(whole.norm(a)))
        for (layer, index), found in self.seen.items():
            values = (a if layer == "a" else b)[:, index]
            assert found is not None
            found.append((float(values.mean()), float(values.var())))

    def assert_of_their_own(self) -> int:
        """Every channel that was renewed has the mean of its own batches, or what is fresh before the first."""
        compared = 0
        out = self.regrower.report.resting
        for (layer, index), found in self.seen.items():
            if index in out.get(layer, ()):
                continue
            norm = self.net.norm if layer == "a" else self.net.norm_b
            expected = (0.0, 1.0)
            if found:
                expected = tuple(sum(each) / len(found) for each in zip(*found, strict=True))
                compared += 1
            here = (float(norm.running_mean[index]), float(norm.running_var[index]))
            assert here == pytest.approx(expected, rel=1e-4, abs=2e-5), (layer, index)
        return compared


def _resets(name: str) -> bool:
    """Whether a renewal gives a channel the statistics of a fresh one: some leave them."""
    leave = {"partial-reset", "self-normalized-resets, as published"}
    return not name.endswith("scion") and name not in leave


RESETTING = [each for each in FEW if _resets(each.values[0])]


@pytest.mark.parametrize(("name", "passes"), crossed(RESETTING, [1, 3]))
def test_a_norm_that_averages_all_batches_alike(name: str, passes: int) -> None:
    run = Run(name)
    compared = 0
    for step in range(STEPS):
        run.train(range(step, step + 1), passes=passes)
        compared += run.assert_of_their_own()
    assert compared >= 5


def test_the_channels_beside_keep_their_average() -> None:
    """Those that were never renewed average all batches since the norm was made, bit for bit as torch does."""
    run = Run("repr by random")
    run.train(range(STEPS - 1))
    plain = copy.deepcopy(run.net)
    images, labels = _batch(STEPS)
    plain(images)
    before = run.net.norm_b.running_var.clone()
    run.optimizer.zero_grad()
    F.cross_entropy(run.net(images), labels).backward()
    run.optimizer.step()
    renewed = {index for layer, index in run.seen if layer == "b"}
    kept = [index for index in range(6) if index not in renewed]
    assert kept
    assert renewed
    here, there = run.net.norm_b.running_var, plain.norm_b.running_var
    assert torch.equal(here[kept], there[kept])
    assert not torch.equal(here[kept], before[kept])
    assert not any(torch.equal(here[index], there[index]) for index in renewed)


@pytest.mark.parametrize("name", RESETTING)
def test_interrupted_and_resumed(name: str) -> None:
    whole, first = Run(name), Run(name)
    whole.train(range(STEPS))
    first.train(range(14))
    file = io.BytesIO()
    parts = (first.net, first.optimizer, first.regrower)
    torch.save([each.state_dict() for each in parts], file)
    file.seek(0)
    second = Run(name)
    for each, state in zip(
        (second.net, second.optimizer, second.regrower),
        torch.load(file, weights_only=True),
        strict=True,
    ):
        each.load_state_dict(state)
    second.train(range(14, STEPS))
    one, two = whole.net.state_dict(), second.net.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_state_of_another_norm_is_refused() -> None:
    run = Run("repr by random")
    run.train(range(9))
    state = run.regrower.state_dict()
    assert state["counted"]
    kept = next(iter(state["counted"].values()))
    kept["value"] = kept["value"][:1]
    with pytest.raises(StateError, match="young channels of 'norm"):
        run.regrower.load_state_dict(state)


def test_a_norm_that_counts_anew_or_with_a_momentum_has_nobody_young() -> None:
    run = Run("repr by random")
    run.train(range(9))
    assert run.seen
    run.net.norm.momentum = 0.1
    run.net.norm_b.reset_running_stats()
    plain = copy.deepcopy(run.net)
    images, labels = _batch(50)
    plain(images)
    F.cross_entropy(run.net(images), labels).backward()
    run.optimizer.step()
    for name in ("running_mean", "running_var"):
        assert torch.equal(getattr(run.net.norm, name), getattr(plain.norm, name))
        assert torch.equal(getattr(run.net.norm_b, name), getattr(plain.norm_b, name))


class Counter(TorchDispatchMode):
    """Counts tensor operations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_until_somebody_is_renewed_nothing_is_computed() -> None:
    """As many operations in an optimizer's step as with norms that have a momentum, of which nothing is kept."""
    counts: dict[float | None, list[int]] = {None: [], 0.1: []}
    for momentum, found in counts.items():
        run = Run("repr by random")
        run.net.norm.momentum = run.net.norm_b.momentum = momentum
        for step in range(STEPS):
            images, labels = _batch(step)
            run.optimizer.zero_grad()
            F.cross_entropy(run.net(images), labels).backward()
            with Counter() as counter:
                run.optimizer.step()
            found.append(counter.count)
            renewed = bool(run.regrower.report.events)
            if renewed and found is counts[None]:
                first = step
                break
    assert first > 3
    assert counts[None][:first] == counts[0.1][:first]
    assert counts[None][first] > counts[0.1][first]


AVERAGES: dict[str, tuple[Callable[[nn.Module], nn.Module], bool]] = {
    "equal": (AveragedModel, True),
    "equal, by name": (lambda net: AveragedModel(net, avg_fn=get_swa_avg_fn()), True),
    "equal, together": (lambda net: AveragedModel(net, multi_avg_fn=get_swa_multi_avg_fn()), True),
    "moving": (lambda net: AveragedModel(net, avg_fn=get_ema_avg_fn(0.9)), False),
    "moving, together": (
        lambda net: AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
        False,
    ),
    "moving, by hand": (
        lambda net: AveragedModel(net, avg_fn=lambda mean, new, _: 0.9 * mean + 0.1 * new),
        False,
    ),
    "warming up": (
        lambda net: AveragedModel(
            net, avg_fn=lambda mean, new, n: mean + (new - mean) / (10 + n) * (1 + n)
        ),
        True,
    ),
    "a copy": (copy.deepcopy, False),
}


@pytest.mark.parametrize(
    ("name", "average"),
    crossed(SAMPLE, ("equal", "moving")) + [("randomout", average) for average in AVERAGES],
)
def test_an_average_by_a_count_of_its_own_is_spoken_of(name: str, average: str) -> None:
    net, (make, told) = Net(), AVERAGES[average]
    regrower = regrow.attach(
        _recipe(name),
        net,
        torch.optim.SGD(net.parameters(), lr=0.05),
        wiring=WIRING,
        total_steps=STEPS,
        steps_per_epoch=5,
        companions=[make(net)],
        **DATA,
    )
    assert told == any("AveragedModel (companions)" in note for note in regrower.report.notes)


class Warm(nn.Module):
    """An average whose weight of a step grows with its count, as timm's can."""

    use_warmup = True

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(net)


class Renorm(nn.Module):
    """A norm of one's own, with a count of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
        )
        for name, values in (
            ("running_mean", torch.zeros(channels)),
            ("running_var", torch.ones(channels)),
        ):
            self.register_buffer(name, values)
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        share = 1.0 / max(1, int(self.seen))
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, share
        )


def test_other_counts_are_spoken_of() -> None:
    net = Net()
    net.norm = Renorm(4)
    regrower = attach_traced(
        _recipe("repr by random"),
        net,
        torch.optim.SGD(net.parameters(), lr=0.05),
        example_inputs=torch.zeros(2, 1, 8, 8),
        total_steps=STEPS,
        companions=[Warm(net)],
    )
    notes = regrower.report.notes
    assert any(note.startswith("norm: seen counts for all channels together") for note in notes)
    assert any("Warm (companions)" in note and "without use_warmup" in note for note in notes)
