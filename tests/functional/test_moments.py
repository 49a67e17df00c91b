"""Adam's step against Adam itself."""

import pytest
import torch

from regrow.functional import adam_update


@pytest.mark.parametrize("steps", [1, 2, 10, 500])
def test_against_torch_adam_in_float64(steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    parameter = torch.nn.Parameter(torch.randn(6, dtype=torch.float64, generator=generator))
    optimizer = torch.optim.Adam([parameter], lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    for _ in range(steps):
        before = parameter.detach().clone()
        parameter.grad = torch.randn(6, dtype=torch.float64, generator=generator)
        optimizer.step()
    state = optimizer.state[parameter]
    update = adam_update(
        state["exp_avg"],
        state["exp_avg_sq"],
        age=torch.tensor(float(steps)),
        lr=0.01,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
    )
    torch.testing.assert_close(before - update, parameter.detach(), rtol=1e-13, atol=1e-15)


def test_beta_zero_and_float32_precision() -> None:
    grad = torch.tensor([2.0])
    update = adam_update(
        grad, grad**2, age=torch.tensor(1.0), lr=0.1, beta1=0.0, beta2=0.0, eps=0.0
    )
    assert update.item() == pytest.approx(0.1)
    # 1 - 0.999 in float32 is wrong in its fifth digit; the correction must not be.
    first = adam_update(
        0.1 * grad, 0.001 * grad**2, age=torch.tensor(1.0), lr=1.0, beta1=0.9, beta2=0.999, eps=0.0
    )
    assert first.item() == pytest.approx(1.0, abs=3e-7)
