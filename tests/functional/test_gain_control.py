from __future__ import annotations

import pytest
import torch

from regrow.errors import ShapeError
from regrow.functional import gain_control


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("relu", [False, True])
def test_a_plain_loop_from_the_abstract(dims: int, relu: bool) -> None:
    generator = torch.Generator().manual_seed(dims)
    x = torch.randn((2, 3, *(4, 3, 2)[:dims]), generator=generator, dtype=torch.float64)
    k, g, b = (torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(3))
    found = gain_control(x, mean_scale=k, gain=g, bias=b, dims=dims, relu=relu)
    for sample in range(2):
        for channel in range(3):
            numbers = x[sample, channel].flatten().tolist()
            mean = sum(numbers) / len(numbers)
            kk, gg, bb = (float(each[channel]) for each in (k, g, b))
            right = [gg * (number - kk * mean) + bb for number in numbers]
            right = [max(each, 0.0) for each in right] if relu else right
            assert found[sample, channel].flatten().tolist() == pytest.approx(right)


def test_numbers_a_sample_and_leading_axes() -> None:
    x = torch.randn(4, 2, 3, 5, dtype=torch.float64)
    own = torch.randn(4, 1, 3, dtype=torch.float64)
    found = gain_control(x, mean_scale=own, gain=own + 1, bias=own + 2, dims=1)
    for index in range(4):
        one = own[index, 0]
        right = gain_control(x[index], mean_scale=one, gain=one + 1, bias=one + 2, dims=1)
        assert torch.equal(found[index], right)


def test_the_input_is_not_touched_and_its_dtype_is_kept() -> None:
    x = torch.randn(2, 3, 4).bfloat16()
    before = x.clone()
    one = torch.ones(3)
    assert gain_control(x, mean_scale=one, gain=one, bias=one, dims=1).dtype == torch.bfloat16
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("x", "dims", "message"),
    [
        (torch.zeros(2, 3, 4), 4, "dims must be 1, 2 or 3, got 4"),
        (torch.zeros(2, 3, 4).int(), 1, "must be real floating point"),
        (torch.zeros(4), 1, "a channel axis and 1 position axes"),
        (torch.zeros(2, 3, 0), 1, "at least one position"),
        (torch.zeros(2, 1, 4), 1, r"mean_scale must broadcast to \(2, 1\), got the shape \(3,\)"),
    ],
)
def test_inputs_that_do_not_fit(x: torch.Tensor, dims: int, message: str) -> None:
    one = torch.ones(3)
    with pytest.raises(ShapeError, match=message):
        gain_control(x, mean_scale=one, gain=one, bias=one, dims=dims)
