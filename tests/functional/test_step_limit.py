"""How much of a step is made: against plain Python in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from regrow.functional import limited, step_scale

NAN, INF = float("nan"), float("inf")


def by_hand(step: float, length: float, fraction: float) -> float:
    if not math.isfinite(step):
        return 0.0
    return 1.0 if step <= fraction * length else fraction * length / step


@pytest.mark.parametrize("fraction", [0.03, 0.1, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_share_that_is_made(fraction: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    step = torch.rand(200, generator=generator, dtype=dtype) * fraction
    length = torch.rand(200, generator=generator, dtype=dtype)
    found = step_scale(step, length, fraction=fraction)
    expected = [
        by_hand(a, b, fraction) for a, b in zip(step.tolist(), length.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    assert 0 < sum(each < 1 for each in expected) < 200
    after = found.double() * step.double()
    assert bool((after <= fraction * length.double() * (1 + 1e-6)).all())


def test_within_the_limit_is_one_exactly_and_beyond_is_less() -> None:
    length = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    limit = torch.tensor(0.1) * 1.0
    beyond = torch.nextafter(limit, torch.tensor(1.0))
    step = torch.stack([limit, beyond, *map(torch.tensor, (0.0, 0.0, 1.0, NAN, INF))])
    found = step_scale(step, length, fraction=0.1)
    assert found.tolist()[0] == 1.0
    assert 0.99 < found.tolist()[1] < 1.0
    assert found.tolist()[2:] == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_a_length_that_is_no_number_moves_nothing() -> None:
    assert step_scale(torch.tensor([1.0]), torch.tensor([NAN]), fraction=0.1).tolist() == [0.0]


def test_limited_takes_bits_from_one_side_or_the_other() -> None:
    before = torch.tensor([-0.0, 1.0, 2.0, 3.0])
    after = torch.tensor([-0.0, NAN, INF, 7.0])
    whole = limited(before, after, torch.tensor(1.0))
    assert torch.equal(whole.view(torch.int32), after.view(torch.int32))
    none = limited(before, after, torch.tensor(0.0))
    assert torch.equal(none.view(torch.int32), before.view(torch.int32))
    assert limited(before, after, torch.tensor(0.25))[3] == 4.0
    mixed = limited(before, after, torch.tensor([1.0, 0.0, 0.0, 0.5]))
    assert mixed.tolist() == [-0.0, 1.0, 2.0, 5.0]


def test_limited_in_half_precision_is_rounded_once() -> None:
    before, after = torch.tensor([1.0, 256.0]), torch.tensor([1.5, 258.0])
    found = limited(before.bfloat16(), after.bfloat16(), torch.tensor(0.5))
    expected = (before + 0.5 * (after - before)).bfloat16()
    assert found.dtype is torch.bfloat16
    assert torch.equal(found, expected)


def test_vmap_gives_the_same() -> None:
    step, length = torch.rand(4, 6), torch.rand(4, 6)

    def one(a: Tensor, b: Tensor) -> Tensor:
        return step_scale(a, b, fraction=0.1)

    assert torch.equal(torch.vmap(one)(step, length), step_scale(step, length, fraction=0.1))
