"""Losses of several networks against torch's, one by one; what counts as right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from regrow.engine.answers import Answers
from regrow.engine.loss import CrossEntropy, Reduction, SquaredError
from regrow.errors import ShapeError

NAN, INF = float("nan"), float("inf")


def given(
    networks: int, classes: int, samples: int, *, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(samples)
    logits = torch.randn(networks, classes, samples, generator=generator, dtype=torch.float64) * 4
    return logits.to(dtype), torch.randint(0, classes, (networks, samples), generator=generator)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("classes", "samples"), [(2, 1), (2, 64), (5, 7)])
def test_it_is_torchs(classes: int, samples: int, reduction: Reduction) -> None:
    logits, labels = given(3, classes, samples, dtype=torch.float64)
    grad = torch.full_like(logits, NAN)
    losses, right = CrossEntropy(logits, grad)(labels, reduction=reduction)
    for number, (scores, told) in enumerate(zip(logits, labels, strict=True)):
        own = scores.T.clone().requires_grad_()
        loss = F.cross_entropy(own, told, reduction=reduction)
        loss.backward()
        torch.testing.assert_close(losses[number], loss.detach(), rtol=1e-12, atol=1e-12)
        assert own.grad is not None
        torch.testing.assert_close(grad[number], own.grad.T, rtol=1e-12, atol=1e-14)
        assert int(right[number]) == int((scores.argmax(0) == told).sum())


def test_neighbours_change_no_bit() -> None:
    for samples in (*range(1, 70), 128, 611, 1000):
        logits, labels = given(5, 2, samples, dtype=torch.float32)
        grad = torch.empty_like(logits)
        losses, right = CrossEntropy(logits, grad)(labels, reduction="mean")
        for number in range(5):
            alone = torch.empty_like(grad[:1])
            one = CrossEntropy(logits[number : number + 1].clone(), alone)
            loss, hits = one(labels[number], reduction="mean")
            assert torch.equal(loss[0], losses[number])
            assert torch.equal(hits[0], right[number])
            assert torch.equal(alone[0], grad[number])


@pytest.mark.parametrize(
    ("scores", "label", "right"),
    [
        ([0.0, 0.0, 0.0], 0, 1),  # of equal ones the first
        ([0.0, 0.0, 0.0], 1, 0),
        ([-1.0, 3.0, 3.0], 1, 1),
        ([-1.0, 3.0, 3.0], 2, 0),
        ([0.0, 1e30, -1e30], 1, 1),  # far apart, and finite
        ([NAN, 1.0, 0.0], 1, 0),
        ([1.0, NAN, 0.0], 1, 0),
        ([INF, 1.0, 0.0], 0, 0),
        ([-INF, 1.0, 0.0], 1, 0),
    ],
)
def test_what_is_right(scores: list[float], label: int, right: int) -> None:
    logits = torch.tensor(scores)[None, :, None]
    loss = CrossEntropy(logits, torch.empty_like(logits))
    assert int(loss(torch.tensor([label]), reduction="mean")[1]) == right


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("samples", [1, 7, 64])
def test_squared_error_is_torchs(samples: int, reduction: Reduction) -> None:
    outputs, _ = given(3, 1, samples, dtype=torch.float64)
    targets = torch.arange(3.0 * samples, dtype=torch.float64).view(3, samples).sin()
    grad = torch.full_like(outputs, NAN)
    losses, right = SquaredError(outputs, grad)(targets, reduction=reduction)
    for number, (numbers, told) in enumerate(zip(outputs, targets, strict=True)):
        own = numbers.T.clone().requires_grad_()
        loss = F.mse_loss(own[:, 0], told, reduction=reduction)
        loss.backward()
        torch.testing.assert_close(losses[number], loss.detach(), rtol=1e-12, atol=1e-12)
        assert own.grad is not None
        torch.testing.assert_close(grad[number], own.grad.T, rtol=1e-12, atol=1e-14)
    assert right.tolist() == [0, 0, 0]


def test_neighbours_change_no_bit_of_a_squared_error() -> None:
    for samples in (*range(1, 40), 128, 611):
        outputs, _ = given(5, 1, samples, dtype=torch.float32)
        targets = torch.linspace(-3, 3, 5 * samples).view(5, samples)
        grad = torch.empty_like(outputs)
        losses, _ = SquaredError(outputs, grad)(targets, reduction="mean")
        for number in range(5):
            alone = torch.empty_like(grad[:1])
            one = SquaredError(outputs[number : number + 1].clone(), alone)
            loss, _ = one(targets[number], reduction="mean")
            assert torch.equal(loss[0], losses[number])
            assert torch.equal(alone[0], grad[number])


def test_a_squared_error_is_of_one_number() -> None:
    with pytest.raises(ShapeError, match=r"must give one number, \(B, 1\), got \(B, 2\)"):
        SquaredError(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_is_judged_later_is_what_each_step_gives(reduction: Reduction) -> None:
    """Sums of as many steps as are judged at once and more, of a smaller last batch, and with logits that are none."""
    answers = Answers(3, device=torch.device("cpu"))
    losses = torch.zeros(3, dtype=torch.float64)
    right = torch.zeros(3, dtype=torch.int64)
    for step, samples in enumerate([50] * 18 + [7] + [50] * 2):
        logits, labels = given(3, 10, samples, dtype=torch.float32)
        logits += 0.1 * step
        if step == 4:
            logits[1, 2, 3] = NAN
        grads = [torch.empty_like(logits) for _ in range(2)]
        own, hits = CrossEntropy(logits, grads[0])(labels, reduction=reduction)
        CrossEntropy(logits, grads[1]).note(labels, reduction=reduction, answers=answers)
        torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(answers.newest(), own, rtol=0, atol=0, equal_nan=True)
        losses += own.to(torch.float64) * (samples if reduction == "mean" else 1)
        right += hits
        logits.zero_()  # the stack's memory is written anew in the next step
    found = answers.sums()
    torch.testing.assert_close(found[0], losses, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found[1], right)
    assert bool(losses[1].isnan())
    assert torch.equal(answers.sums()[1], right)  # asked again


def test_nothing_answered_is_nothing() -> None:
    losses, right = Answers(2, device=torch.device("cpu")).sums()
    assert losses.tolist() == [0.0, 0.0]
    assert right.tolist() == [0, 0]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_numbers_are_answers_too(reduction: Reduction) -> None:
    answers, losses = Answers(2, device=torch.device("cpu")), torch.zeros(2, dtype=torch.float64)
    for step, samples in enumerate((5, 5, 2)):
        outputs = torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(step))
        grads = [torch.empty_like(outputs) for _ in range(2)]
        wanted = torch.ones(2, samples)
        own, _ = SquaredError(outputs, grads[0])(wanted, reduction=reduction)
        SquaredError(outputs, grads[1]).note(wanted, reduction=reduction, answers=answers)
        assert torch.equal(*grads)
        assert torch.equal(answers.newest(), own)
        losses += own.to(torch.float64) * (samples if reduction == "mean" else 1)
    found = answers.sums()
    assert torch.equal(found[0], losses)
    assert found[1].tolist() == [0, 0]
