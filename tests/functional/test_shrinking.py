"""Shrinking, pulling and projecting whole weights, against plain loops and singular values in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from regrow.functional import isometric, polar_factor, pulled, shrink_and_add


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_shrink_and_add_entry_by_entry() -> None:
    value, other = noise(2, 3), noise(2, 3, seed=1)
    found = shrink_and_add(value, other, shrink=0.4, add=0.1)
    for mine, one, two in zip(
        found.flatten().tolist(), value.flatten().tolist(), other.flatten().tolist(), strict=True
    ):
        assert mine == pytest.approx(0.4 * one + 0.1 * two, abs=1e-15)


def test_pulled_is_a_step_down_half_the_squared_distance() -> None:
    """Plain SGD on strength / 2 * |w - w0|^2, by autograd."""
    value, centre = noise(5).requires_grad_(), noise(5, seed=1)
    (0.3 / 2 * (value - centre).square().sum()).backward()
    assert value.grad is not None
    found = pulled(value.detach(), centre, share=0.1 * 0.3)
    assert torch.allclose(found, value.detach() - 0.1 * value.grad, atol=1e-15, rtol=0)
    by_row = pulled(noise(2, 3), noise(2, 3, seed=1), share=torch.tensor([[0.0], [1.0]]).double())
    assert torch.equal(by_row[0], noise(2, 3)[0])
    assert torch.allclose(by_row[1], noise(2, 3, seed=1)[1], atol=1e-15, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_of_nothing_changes_no_bit_and_types_stay(dtype: torch.dtype) -> None:
    value, centre = noise(7).to(dtype), noise(7, seed=1).to(dtype)
    assert torch.equal(pulled(value, centre, share=0.0), value)
    assert torch.equal(pulled(value, value, share=0.3), value)
    assert torch.equal(shrink_and_add(value, centre, shrink=1.0, add=0.0), value)
    assert shrink_and_add(value, centre, shrink=0.4, add=0.1).dtype == dtype
    assert polar_factor(noise(3, 2).to(dtype)).dtype == dtype


def orthogonal(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(noise(size, size, seed=seed)).Q


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3)])
def test_the_polar_factor_is_that_of_the_singular_vectors(shape: tuple[int, int]) -> None:
    """With singular values of one size all converge; the exact factor is U V^T."""
    least = min(shape)
    left, right = orthogonal(shape[0], 1)[:, :least], orthogonal(shape[1], 2)[:, :least]
    values = torch.linspace(0.5, 1.0, least, dtype=torch.float64)
    matrix = 3.0 * (left * values) @ right.mT
    found = polar_factor(matrix, iterations=30)
    assert torch.allclose(found, left @ right.mT, atol=1e-12, rtol=0)
    # By ten iterations as released: singular value by singular value, in plain numbers.
    ten = torch.linalg.svdvals(polar_factor(matrix))
    expected = []
    for first in (values / values.norm()).tolist():
        value = first
        for _ in range(10):
            value = 1.5 * value - 0.5 * value**3
        expected.append(value)
    assert ten.tolist() == pytest.approx(sorted(expected, reverse=True), abs=1e-12)


def test_leading_axes_are_matrices_of_their_own() -> None:
    stack = noise(2, 3, 4, 5)
    found = polar_factor(stack)
    for one in range(2):
        for two in range(3):
            assert torch.allclose(found[one, two], polar_factor(stack[one, two]), atol=1e-14)


def test_what_is_dead_is_not_revived() -> None:
    matrix = noise(4, 6)
    matrix[2] = 0.0
    found = polar_factor(matrix)
    assert not found[2].any()
    assert not polar_factor(torch.zeros(3, 3)).any()
    kept = [0, 1, 3]
    assert torch.allclose(found[kept], polar_factor(matrix[kept]), atol=1e-14)


def test_an_isometric_layer_keeps_lengths_at_its_scale() -> None:
    """A square layer keeps the length of every input; a kernel shares it among its positions."""
    taps = orthogonal(5, 3)[None] * 0.7
    x = noise(5, seed=4)
    assert float((isometric(taps, iterations=30)[0] @ x).norm()) == pytest.approx(float(x.norm()))
    wide = isometric(noise(9, 8, 2), iterations=60)
    for tap in wide:
        gram = tap.mT @ tap * 81 / (8 / 2)
        assert torch.allclose(gram, torch.eye(2, dtype=torch.float64), atol=1e-9)
    assert math.isclose(float(wide[0].norm()), math.sqrt(2.0) * 2.0 / 9.0, rel_tol=1e-9)
