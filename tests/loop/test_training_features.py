"""What training loops do besides: accumulation, clipping, checkpointing, memory formats, schedulers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import regrow
from crossed import crossed
from loop.loops import (
    EXAMPLE,
    Batches,
    Make,
    adam,
    assert_same_bits,
    kill,
    marked,
    often,
    sgd,
    train,
    weights,
)
from traced import attach_traced

Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]
MAKES = pytest.mark.parametrize("make", [sgd, adam])


def _norms(model: nn.Module, path: int) -> list[float]:
    return model[path].weight.grad.abs().sum((1, 2, 3)).tolist()  # type: ignore[index]


# ---- accumulation


@pytest.mark.parametrize(("parts", "make"), crossed([2, 4], [sgd, adam]))
def test_one_decision_for_an_accumulated_gradient(
    parts: int, make: Make, small_cnn: Cnn, batches: Some
) -> None:
    """Micro-batches are no steps: the same decisions as with the whole batch at once."""
    runs = []
    for split in (1, parts):
        model = small_cnn(0).eval()  # a norm would see smaller batches
        optimizer = make(model)
        regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
        for images, labels in batches(10):
            optimizer.zero_grad()
            for some, same in zip(images.chunk(split), labels.chunk(split), strict=True):
                (nn.functional.cross_entropy(model(some), same) / split).backward()
            optimizer.step()
        runs.append((model, regrower))
    (whole, first), (parted, second) = runs
    assert first.report.renewed > 4
    assert (first.report.steps, first.report.checks) == (10, 5)
    assert (second.report.steps, second.report.checks) == (10, 5)
    assert marked(first) == marked(second)
    torch.testing.assert_close(weights(whole), weights(parted), rtol=1e-3, atol=1e-5)


def test_the_score_is_that_of_the_sum_and_not_of_the_last_micro_batch(
    small_cnn: Cnn, batches: Some
) -> None:
    """The second micro-batch's loss is multiplied by 0: filters that the first one reaches are alive."""
    model = small_cnn(0)
    kill(model, 1)
    optimizer = sgd(model)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    for (images, labels), factor in zip(batches(2), (1.0, 0.0), strict=True):
        (factor * nn.functional.cross_entropy(model(images), labels)).backward()
    optimizer.step()
    assert marked(regrower) == [(0, "3", (1,))]


# ---- clipping


@pytest.mark.parametrize("kind", ["norm", "value"])
def test_scores_are_of_the_clipped_gradient(kind: str, small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0)
    optimizer = sgd(model)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, dry_run=True)
    seen: dict[str, list[list[float]]] = {"before": [], "after": []}

    def clip() -> None:
        seen["before"] = [_norms(model, 0), _norms(model, 3)]
        if kind == "norm":
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        else:
            nn.utils.clip_grad_value_(model.parameters(), 0.001)
        seen["after"] = [_norms(model, 0), _norms(model, 3)]

    train(model, optimizer, batches(1), before_step=clip)
    scores = [list(event.scores) for event in regrower.report.events]
    assert scores == [pytest.approx(one, rel=1e-6) for one in seen["after"]]
    assert sum(seen["before"][1]) > 10 * sum(scores[1])


# ---- activation checkpointing


class _Checkpointed(nn.Module):
    """The small CNN, with a part whose forward pass is run again in the backward pass."""

    def __init__(self, net: nn.Module, part: slice, *, use_reentrant: bool | None) -> None:
        super().__init__()
        self.net, self.part, self.use_reentrant = net, part, use_reentrant

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        start, stop, _ = self.part.indices(len(self.net))  # type: ignore[arg-type]
        x = self.net[:start](images)  # type: ignore[index]
        inner = self.net[start:stop]  # type: ignore[index]
        mode = self.use_reentrant
        x = inner(x) if mode is None else checkpoint(inner, x, use_reentrant=mode)
        return self.net[stop:](x)  # type: ignore[index]


@pytest.mark.parametrize(
    ("part", "use_reentrant", "make"),
    crossed([slice(2, 5), slice(1, 6)], [False, True], [sgd, adam]),
)
def test_checkpointing_changes_no_decision_and_no_bit(
    part: slice, use_reentrant: bool, make: Make, small_cnn: Cnn, batches: Some
) -> None:
    runs = []
    for mode in (None, use_reentrant):
        model = _Checkpointed(small_cnn(0), part, use_reentrant=mode)
        optimizer = make(model)
        regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
        train(model, optimizer, batches(10))
        runs.append((model, regrower))
    (plain, first), (saving, second) = runs
    assert first.report.layers == {"net.0": 4, "net.3": 6}
    assert first.report.renewed > 4
    assert first.report.events == second.report.events
    assert_same_bits(dict(plain.named_parameters()), dict(saving.named_parameters()))


def test_attaching_leaves_no_trace_in_a_checkpointed_norm(small_cnn: Cnn) -> None:
    model = _Checkpointed(small_cnn(0), slice(1, 6), use_reentrant=False)
    before = weights(model)
    attach_traced(often(), model, sgd(model), example_inputs=torch.ones(2, 1, 8, 8))
    assert_same_bits(before, weights(model))


# ---- memory formats


@pytest.mark.parametrize(("readers", "make"), crossed(["keep", "zero", "redraw"], [sgd, adam]))
def test_channels_last_keeps_its_strides_and_the_draws_are_the_same(
    readers: Any, make: Make, batches: Some
) -> None:
    def build() -> nn.Module:
        torch.manual_seed(0)
        layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3))
        head = (nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4, 3))
        return nn.Sequential(*layers, *head).double()  # rounding would be magnified by Adam

    runs = []
    for last in (False, True):
        model = build()
        memory = torch.channels_last if last else torch.contiguous_format
        model = model.to(memory_format=memory)
        kill(model, 1, 4)
        optimizer = make(model)
        recipe = regrow.RandomOut(
            confirm="gradient", threshold=1e-12, active_fraction=1.0, readers=readers
        )
        regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE.double())
        train(
            model,
            optimizer,
            batches(4),
            cast=lambda images, memory=memory: images.double().to(memory_format=memory),
        )
        weight = model[3].weight
        assert weight.is_contiguous(memory_format=memory)
        assert weight.is_contiguous() is not last
        for value in optimizer.state[weight].values():
            if isinstance(value, torch.Tensor) and value.ndim:
                assert value.is_contiguous(memory_format=memory)
        runs.append((model, regrower))
    (plain, first), (last_run, second) = runs
    assert marked(first)[0] == (0, "3", (1, 4))
    assert marked(first) == marked(second)
    torch.testing.assert_close(weights(plain), weights(last_run), rtol=1e-6, atol=1e-8)


def test_a_redraw_writes_the_same_numbers_in_both_memory_formats(
    small_cnn: Cnn, batches: Some
) -> None:
    drawn = []
    for memory in (torch.contiguous_format, torch.channels_last):
        model = small_cnn(0).to(memory_format=memory)
        kill(model, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        recipe = regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        train(model, optimizer, batches(1))
        drawn.append(model[3].weight.detach()[1])  # type: ignore[index]
        assert drawn[-1].any()
    assert torch.equal(drawn[0], drawn[1])


# ---- schedulers

SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "step": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.5),
    "one cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.05, total_steps=13
    ),
    "warm-up": lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=5),
}


@pytest.mark.parametrize(("name", "make"), crossed(SCHEDULERS, [sgd, adam]))
def test_a_scheduler_may_be_made_before_or_after_attach(
    name: str, make: Make, small_cnn: Cnn, batches: Some
) -> None:
    runs = []
    for early in (True, False):
        model = small_cnn(0)
        kill(model, 1)
        optimizer = make(model)
        scheduler = SCHEDULERS[name](optimizer) if early else None
        regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
        scheduler = scheduler or SCHEDULERS[name](optimizer)
        for batch in batches(12):
            train(model, optimizer, [batch])
            scheduler.step()
        assert (regrower.report.steps, regrower.report.checks) == (12, 6)
        runs.append((weights(model), regrower.report.events))
    assert runs[0][1] == runs[1][1]
    assert len(runs[0][1]) > 4
    assert_same_bits(runs[0][0], runs[1][0])


def test_a_young_filter_steps_by_the_rate_that_its_step_was_made_with(batches: Some) -> None:
    """Adam's first step is as long as the rate: a filter renewed late, under a schedule, included."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-20)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.8)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=0.5, every_steps=6)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, total_steps=12)
    for batch in batches(6):
        train(model, optimizer, [batch])
        scheduler.step()
    assert regrower.report.renewed == 7
    for batch in batches(2):
        before = model[2].weight.detach().clone()
        rate = optimizer.param_groups[0]["lr"]
        train(model, optimizer, [batch])
        scheduler.step()
        if rate == pytest.approx(0.01 * 0.8**6):
            moved = (model[2].weight.detach() - before).abs()
            torch.testing.assert_close(moved, torch.full_like(moved, rate), rtol=2e-3, atol=0)


# ---- gradients that stay


@MAKES
def test_zeroed_gradients_and_absent_ones_give_the_same_run(
    make: Make, small_cnn: Cnn, batches: Some
) -> None:
    runs = []
    for set_to_none in (True, False):
        model = small_cnn(0)
        kill(model, 1)
        optimizer = make(model)
        regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE)
        train(model, optimizer, batches(10), set_to_none=set_to_none)
        runs.append((weights(model), regrower.report.events))
    assert runs[0][1] == runs[1][1]
    assert len(runs[0][1]) > 4
    assert_same_bits(runs[0][0], runs[1][0])


class _Branching(nn.Module):
    """A branch that the forward pass may leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.side = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4 * 36, 3)
        self.use_side = True

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.main(images)
        x = x + self.side(images) if self.use_side else x
        return self.head(x.tanh().flatten(1))


@pytest.mark.parametrize(("set_to_none", "renewed"), [(True, set()), (False, {"side"})])
def test_a_layer_that_a_step_leaves_out(
    set_to_none: bool, renewed: set[str], batches: Some
) -> None:
    """Absent gradients say nothing; zeros left by ``set_to_none=False`` say that the filters are dead."""
    model = _Branching()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    train(model, optimizer, batches(1), set_to_none=set_to_none)
    assert regrower.report.events == []
    model.use_side = False
    train(model, optimizer, batches(1), set_to_none=set_to_none)
    assert {event.layer for event in regrower.report.events} == renewed


@MAKES
def test_two_losses_of_one_retained_graph(make: Make, small_cnn: Cnn, batches: Some) -> None:
    runs = []
    for retained in (False, True):
        model = small_cnn(0).double()  # rounding would be magnified by Adam
        optimizer = make(model)
        regrower = attach_traced(often(), model, optimizer, example_inputs=EXAMPLE.double())
        for images, labels in batches(8):
            optimizer.zero_grad()
            scores = model(images.double())
            first = nn.functional.cross_entropy(scores, labels)
            second = 0.1 * scores.square().mean()
            if retained:
                first.backward(retain_graph=True)
                second.backward()
            else:
                (first + second).backward()
            optimizer.step()
        runs.append((model, regrower))
    (summed, one), (parted, two) = runs
    assert one.report.renewed > 2
    assert marked(one) == marked(two)
    torch.testing.assert_close(weights(summed), weights(parted), rtol=1e-6, atol=1e-8)


def test_a_graph_kept_over_a_renewal_raises_and_gives_no_wrong_gradient(
    small_cnn: Cnn, batches: Some
) -> None:
    """The optimizer itself never steps here: what autograd notices is the renewal."""
    model = small_cnn(0)
    kill(model, 1)
    optimizer = torch.optim.SGD([model[3].weight], lr=0.0)  # type: ignore[index]
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, hooks=False)
    images, labels = batches(1)[0]
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward(retain_graph=True)
    regrower.step()
    assert regrower.report.renewed == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
