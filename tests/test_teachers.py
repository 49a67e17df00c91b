"""Teachers in a loop of one's own: the loss, what they must not touch, and the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import regrow
from regrow.errors import ConfigError, ShapeError
from regrow.losses import distillation

MakeNet = Callable[[int], nn.Module]
MakeBatches = Callable[[int], list[tuple[Tensor, Tensor]]]


class _Counted(nn.Module):
    """A network that says how many images it has seen."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seen = net, 0

    def forward(self, images: Tensor) -> Tensor:
        assert (
            not torch.is_grad_enabled()
        )  # a graph that nobody needs would be kept for the whole step
        self.seen += len(images)
        return self.net(images)


@pytest.mark.parametrize("combine", ["mean", "sum"])
def test_the_loss_is_the_distillation_of_the_teachers_answers_in_eval(
    small_cnn: MakeNet, combine: Any
) -> None:
    images = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    nets = [small_cnn(seed).double() for seed in (1, 2)]
    logits = torch.randn(6, 3, dtype=torch.float64)
    with torch.no_grad():
        taught = [net.eval()(images) for net in nets]
    teachers = regrow.Teachers(
        [net.train() for net in nets], temperature=3.0, combine=combine, weight=0.25
    )
    expected = 0.25 * distillation(logits, taught, temperature=3.0, combine=combine)
    assert torch.equal(teachers.loss(logits, images), expected)


def test_training_with_teachers_is_the_loop_written_by_hand_bit_for_bit(
    small_cnn: MakeNet, batches: MakeBatches
) -> None:
    first, second = small_cnn(1), small_cnn(2)
    found: list[dict[str, Tensor]] = []
    for by_hand in (False, True):
        student = small_cnn(0)
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
        teachers = regrow.Teachers([first, second], temperature=2.0)
        for images, labels in batches(6):
            logits = student(images)
            loss = F.cross_entropy(logits, labels)
            if by_hand:
                with torch.no_grad():
                    told = [F.softmax(net.eval()(images) / 2.0, -1) for net in (first, second)]
                target = torch.stack(told).mean(0)
                answers = F.log_softmax(logits / 2.0, -1)
                loss = loss + 4.0 * F.kl_div(answers, target, reduction="batchmean")
            else:
                loss = loss + teachers.loss(logits, images)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found.append(student.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_teachers_are_held_in_eval_and_nothing_of_them_changes(
    small_cnn: MakeNet, batches: MakeBatches
) -> None:
    teacher, student = small_cnn(1), small_cnn(0)
    teacher[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    teachers = regrow.Teachers([teacher])
    assert not any(module.training for module in teacher.modules())
    teacher[1].train()  # as when the student holds it and is put to training
    generator = torch.get_rng_state()
    for images, _ in batches(2):
        teachers.loss(student(images), images).backward()
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(module.training for module in teacher.modules())
    after = teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    wanted = {name: name != "0.weight" for name, _ in teacher.named_parameters()}
    assert {name: p.requires_grad for name, p in teacher.named_parameters()} == wanted
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_the_cache_gives_what_no_cache_gives_and_looks_once_at_each_example(
    small_cnn: MakeNet,
) -> None:
    images = torch.randn(20, 1, 8, 8, dtype=torch.float64)
    counted = [_Counted(small_cnn(seed).double()) for seed in (1, 2)]
    plain = regrow.Teachers([net.net for net in counted])
    cached = regrow.Teachers(counted, cache=20)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for batch in torch.randperm(20, generator=generator).split(7):
            chosen = torch.cat([batch, batch[:2]])  # an example may be twice in a batch
            logits = torch.randn(len(chosen), 3, dtype=torch.float64, generator=generator)
            kept = cached.loss(logits, images[chosen], chosen)
            torch.testing.assert_close(
                kept, plain.loss(logits, images[chosen]), rtol=1e-12, atol=1e-14
            )
        # Twice in its first batch, an example is looked at twice; after that never.
        assert [net.seen for net in counted] == [26, 26]
    # What is kept is not computed again, whatever the images are by now.
    logits = torch.randn(20, 3, dtype=torch.float64)
    order = list(range(20))
    again = cached.loss(logits, torch.zeros_like(images), order)
    assert torch.allclose(again, plain.loss(logits, images), rtol=1e-12)


def test_after_fill_the_order_of_the_batches_changes_no_bit(small_cnn: MakeNet) -> None:
    images = torch.randn(30, 1, 8, 8)
    logits = torch.randn(30, 3)
    found: list[list[float]] = []
    for size in (30, 1):
        counted = _Counted(small_cnn(1))
        teachers = regrow.Teachers([counted], cache=30)
        teachers.fill(images, batch_size=8)
        assert counted.seen == 30
        for batch in torch.arange(30).flip(0).split(size):
            teachers.loss(logits[batch], images[batch], batch)
        assert counted.seen == 30
        found.append(
            [teachers.loss(logits[i : i + 1], images[i : i + 1], [i]).item() for i in range(30)]
        )
    assert found[0] == found[1]


def test_half_precision_is_brought_to_single_before_the_logarithm(small_cnn: MakeNet) -> None:
    images, teacher, student = torch.randn(8, 1, 8, 8), small_cnn(1), small_cnn(0)
    teachers, cached = regrow.Teachers([teacher]), regrow.Teachers([teacher], cache=8)
    exact = teachers.loss(student(images), images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = student(images)
        found = [teachers.loss(logits, images), cached.loss(logits, images, torch.arange(8))]
    assert logits.dtype is torch.bfloat16
    for loss in found:
        assert loss.dtype is torch.float32
        assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    found[0].backward()
    assert student[0].weight.grad.any()


def test_to_moves_the_teachers(small_cnn: MakeNet) -> None:
    teacher = small_cnn(0)
    teachers = regrow.Teachers([teacher]).to("meta")
    assert teacher[0].weight.is_meta
    with pytest.raises(
        ConfigError, match="teacher 0 must be on the images' device cpu, it is on meta"
    ):
        teachers.loss(torch.zeros(2, 3), torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ([], {}, "at least one teacher is needed"),
        ([3], {}, "teacher 0 must be a torch.nn.Module, got int"),
        ([nn.Identity()], {"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ([nn.Identity()], {"weight": -1.0}, "weight must be at least 0, got -1.0"),
        ([nn.Identity()], {"combine": "max"}, "combine must be 'mean' or 'sum', got 'max'"),
        ([nn.Identity()], {"cache": 0}, "cache must be a number of examples, at least 1"),
    ],
)
def test_mistakes_when_teachers_are_made(
    models: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        regrow.Teachers(models, **options)


class _Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


_TWO = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("model", "cache", "call", "kind", "message"),
    [
        (nn.Linear(3, 4), None, (_TWO, _TWO), ShapeError, r"teacher 0 must give .* \(2, 3\).*got \(2, 4\)"),
        (nn.Flatten(0), 5, (_TWO, _TWO, [0, 1]), ShapeError, r"shape \(2, K\), got \(6,\)"),
        (_Pair(), None, (_TWO, _TWO), ConfigError, "must return a tensor of logits, got tuple"),
        (nn.Identity(), None, (_TWO[0], _TWO[0]), ShapeError, r"must be of shape \(N, K\), got \(3,\)"),
        (nn.Identity(), 5, (_TWO, _TWO), ConfigError, "with a cache, loss needs indices"),
        (nn.Identity(), 5, (_TWO, _TWO, [0, 5]), ConfigError, "must be from 0 to 4, .* got 5"),
        (nn.Identity(), 5, (_TWO, _TWO, [-1, 0]), ConfigError, "must be from 0 to 4, .* got -1"),
        (nn.Identity(), 5, (_TWO, _TWO, [0]), ShapeError, "indices must be 2 whole numbers"),
        (nn.Identity(), 5, (_TWO, _TWO, [0.0, 1.0]), ShapeError, "whole numbers, one an image, got torch.float32"),
    ],
)  # fmt: skip
def test_mistakes_in_a_call(
    model: nn.Module, cache: int | None, call: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        regrow.Teachers([model], cache=cache).loss(*call)


def test_mistakes_when_the_cache_is_filled() -> None:
    with pytest.raises(ConfigError, match="fill needs Teachers"):
        regrow.Teachers([nn.Identity()]).fill(_TWO)
    with pytest.raises(ConfigError, match="as many images as the cache keeps, 3, got 2"):
        regrow.Teachers([nn.Identity()], cache=3).fill(_TWO)
