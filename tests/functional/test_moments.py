"""Steps of Adam's kin against torch's own, in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, optim

from regrow.functional import adam_update, adamax_update, nadam_update, radam_update
from regrow.surgery.optimizers.step import bias_correction

LR = 0.01


def _adam(state: dict[str, Any], grad: Tensor, age: Tensor) -> Tensor:
    del grad
    return adam_update(
        state["exp_avg"], state["exp_avg_sq"], age=age, lr=LR, beta1=0.9, beta2=0.999, eps=1e-8
    )


def _radam(state: dict[str, Any], grad: Tensor, age: Tensor) -> Tensor:
    del grad
    return radam_update(
        state["exp_avg"], state["exp_avg_sq"], age=age, lr=LR, beta1=0.9, beta2=0.999, eps=1e-8
    )


def _adamax(state: dict[str, Any], grad: Tensor, age: Tensor) -> Tensor:
    del grad
    return adamax_update(state["exp_avg"], state["exp_inf"], age=age, lr=LR, beta1=0.9)


def _nadam(state: dict[str, Any], grad: Tensor, age: Tensor) -> Tensor:
    return nadam_update(
        grad,
        state["exp_avg"],
        state["exp_avg_sq"],
        age=age,
        product=state["mu_product"],
        lr=LR,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
        momentum_decay=4e-3,
    )


@pytest.mark.parametrize("steps", [1, 2, 5, 6, 10, 500])
@pytest.mark.parametrize(
    ("kind", "update"),
    [
        (optim.Adam, _adam),
        (optim.RAdam, _radam),
        (optim.Adamax, _adamax),
        (optim.NAdam, _nadam),
    ],
)
def test_against_torch_in_float64(
    steps: int, kind: Any, update: Callable[[dict[str, Any], Tensor, Tensor], Tensor]
) -> None:
    """5 and 6: RAdam's rectification begins between them."""
    generator = torch.Generator().manual_seed(steps)
    parameter = torch.nn.Parameter(torch.randn(6, dtype=torch.float64, generator=generator))
    optimizer = kind([parameter], lr=LR)
    for _ in range(steps):
        before = parameter.detach().clone()
        parameter.grad = torch.randn(6, dtype=torch.float64, generator=generator)
        optimizer.step()
    made = update(optimizer.state[parameter], parameter.grad, torch.tensor(float(steps)))
    torch.testing.assert_close(before - made, parameter.detach(), rtol=1e-13, atol=1e-15)


def test_every_entry_has_its_own_age() -> None:
    moments = (
        torch.rand(3, 2, dtype=torch.float64) + 0.1,
        torch.rand(3, 2, dtype=torch.float64) + 0.1,
    )
    many = torch.tensor([[1.0], [6.0], [100.0]])
    state = {"exp_avg": moments[0], "exp_avg_sq": moments[1], "exp_inf": moments[1]}
    for update in (_adam, _radam, _adamax):
        rows = [
            update({k: v[i] for k, v in state.items()}, moments[0][i], many[i]) for i in range(3)
        ]
        assert torch.equal(update(state, moments[0], many), torch.stack(rows))


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


def test_the_correction_of_an_old_average_is_one() -> None:
    assert bias_correction(0.999, torch.tensor(1e6)).item() == 1.0
    assert bias_correction(0.0, torch.tensor([1.0, 2.0])).tolist() == [1.0, 1.0]
