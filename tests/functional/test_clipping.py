"""Clipping of gradients: against loops in double precision, and against torch."""

from __future__ import annotations

import math

import pytest
import torch

from regrow.functional import adaptive_scale, norm_scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_adaptive_scale_is_the_published_formula(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 9, generator=generator).to(dtype)
    weight[2] = 0.0  # a unit that begins at 0 has the least length
    grad = (0.05 * torch.randn(6, 9, generator=generator)).to(dtype)
    grad[3], grad[4] = 0.0, 0.0001
    found = adaptive_scale(weight, grad, clip=0.02, eps=1e-3)
    expected = []
    for w, g in zip(weight.double().tolist(), grad.double().tolist(), strict=True):
        length = max(math.sqrt(sum(x * x for x in w)), 1e-3)
        slope = math.sqrt(sum(x * x for x in g))
        expected.append(1.0 if slope <= 0.02 * length else 0.02 * length / max(slope, 1e-6))
    assert found.tolist() == pytest.approx(expected, rel=2e-6)
    assert found[3] == found[4] == 1.0
    assert found[2] < 1e-3


def test_norm_scale_is_what_torch_clips_by() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(5)), torch.nn.Parameter(torch.zeros(2, 3))]
    for size in (0.1, 30.0):
        grads = [size * torch.randn_like(each) for each in parameters]
        for each, grad in zip(parameters, grads, strict=True):
            each.grad = grad.clone()
        norm = torch.cat([grad.flatten() for grad in grads]).norm()
        torch.nn.utils.clip_grad_norm_(parameters, 1.5)
        for each, grad in zip(parameters, grads, strict=True):
            torch.testing.assert_close(grad * norm_scale(norm, max_norm=1.5), each.grad)


def test_stacks_are_one_by_one() -> None:
    weight, grad = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    alone = torch.stack([adaptive_scale(w, g, clip=0.1) for w, g in zip(weight, grad, strict=True)])
    assert torch.equal(adaptive_scale(weight, grad, clip=0.1), alone)
