"""How far units have come, against a plain loop in float64."""

import math

import pytest
import torch

from regrow.functional import relative_step


def test_way_by_length() -> None:
    generator = torch.Generator().manual_seed(0)
    now, then = torch.randn(2, 4, 9, dtype=torch.float64, generator=generator)
    expected = [
        math.dist(one, other) / max(math.hypot(*one), math.hypot(*other))
        for one, other in zip(now.tolist(), then.tolist(), strict=True)
    ]
    assert relative_step(now, before=then).tolist() == pytest.approx(expected, rel=1e-14)
    assert relative_step(7 * now, before=7 * then).tolist() == pytest.approx(expected, rel=1e-14)


def test_who_was_and_is_nothing_has_not_moved() -> None:
    nothing, one = torch.zeros(1, 3), torch.ones(1, 3)
    assert relative_step(nothing, before=nothing).tolist() == [0.0]
    assert relative_step(one, before=nothing).tolist() == [1.0]
    assert relative_step(one, before=-one).tolist() == [2.0]


def test_half_precision_is_measured_in_single() -> None:
    now = torch.full((1, 100), 3e2, dtype=torch.float16)
    assert relative_step(now, before=now / 2).tolist() == pytest.approx([0.5])
