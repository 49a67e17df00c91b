"""The gradient norm against loops written from the paper, in float64."""

import math
from typing import Any

import pytest
import torch

from regrow.functional import below, gradient_norm

NORMS = ("l1", "signed", "l2")


def _oracle(grad: torch.Tensor, norm: str) -> list[float]:
    scores = []
    for row in grad.double().tolist():
        if norm == "l1":
            scores.append(math.fsum(abs(value) for value in row))
        elif norm == "signed":
            scores.append(abs(math.fsum(row)))
        else:
            scores.append(math.sqrt(math.fsum(value * value for value in row)))
    return scores


@pytest.mark.parametrize("norm", NORMS)
def test_against_the_oracle(norm: str) -> None:
    grad = torch.randn(9, 48, generator=torch.Generator().manual_seed(0))
    found = gradient_norm(grad, norm=norm)  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx(_oracle(grad, norm), rel=1e-5)


def test_signed_can_cancel_and_the_others_cannot() -> None:
    grad = torch.tensor([[5.0, -5.0]])
    assert gradient_norm(grad, norm="signed").item() == 0.0
    assert gradient_norm(grad, norm="l1").item() == 10.0
    assert gradient_norm(grad, norm="l2").item() == pytest.approx(math.sqrt(50))


@pytest.mark.parametrize("norm", NORMS)
def test_stacked_equals_one_by_one_and_vmap(norm: str) -> None:
    stack = torch.randn(3, 5, 18, generator=torch.Generator().manual_seed(1))
    together = gradient_norm(stack, norm=norm)  # type: ignore[arg-type]
    alone = torch.stack([gradient_norm(one, norm=norm) for one in stack])  # type: ignore[arg-type]
    mapped = torch.vmap(lambda one: gradient_norm(one, norm=norm))(stack)  # type: ignore[arg-type]
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, mapped)


def test_edges() -> None:
    grad = torch.tensor([[0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0, 1.0]])
    scores = gradient_norm(grad)
    assert scores[0] == 0
    assert scores.isfinite().tolist() == [True, False, False, True]
    assert gradient_norm(torch.ones(1, 1, dtype=torch.bfloat16)).dtype == torch.float32


def test_inputs_are_not_touched() -> None:
    grad = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    before = grad.clone()
    for norm in NORMS:
        gradient_norm(grad, norm=norm)  # type: ignore[arg-type]
    assert torch.equal(before, grad)


@pytest.mark.parametrize("norm", ["l1", "signed", "l2"])
def test_half_precision_ends_neither_the_sum_nor_the_threshold(norm: Any) -> None:
    """65504 is float16's largest number, and 1e-8 rounds to 0 in it."""
    scores = gradient_norm(torch.tensor([[0.0, 0.0], [6e4, 6e4]], dtype=torch.float16), norm=norm)
    assert scores.isfinite().all()
    assert below(scores, threshold=1e-8).tolist() == [True, False]
