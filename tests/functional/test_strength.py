"""How far a unit is moved: the transforms of the released code in float64."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch

from regrow.errors import ConfigError
from regrow.functional import renewal_strength

ORACLES: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda x: min(2 / (1 + math.exp(x)), 1.0),
    "exp": lambda x: min(math.exp(-x), 1.0),
    "softplus": lambda x: min(math.log1p(math.exp(-x)) / math.log(2), 1.0),
    "linear": lambda x: max(0.0, min(1 - x, 1.0)),
}


@pytest.mark.parametrize("transform", ORACLES)
def test_the_transform_is_the_released_codes_in_float64(transform: str) -> None:
    utility = torch.linspace(0.0, 3.0, 61, dtype=torch.float64)
    for sharpness, threshold in ((16.0, 1.0), (0.5, 0.95), (0.0, 2.0)):
        found = renewal_strength(
            utility,
            transform=transform,  # type: ignore[arg-type]
            sharpness=sharpness,
            threshold=threshold,
        )
        expected = [ORACLES[transform](sharpness * (u - threshold)) for u in utility.tolist()]
        assert found.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("transform", ORACLES)
def test_all_is_due_up_to_the_threshold_and_never_more_behind_it(transform: str) -> None:
    utility = torch.linspace(0.0, 40.0, 4001, dtype=torch.float64)
    found = renewal_strength(utility, transform=transform, sharpness=16.0, threshold=1.0)  # type: ignore[arg-type]
    assert found[utility <= 1.0].eq(1.0).all()
    assert (found.diff() <= 0).all()
    assert found[-1] < 1e-100


def test_what_is_no_number_is_due_nothing() -> None:
    utility = torch.tensor([math.nan, math.inf, -math.inf, 0.5])
    for transform in ORACLES:
        found = renewal_strength(utility, transform=transform, sharpness=16.0, threshold=1.0)  # type: ignore[arg-type]
        assert found.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_any_leading_axes() -> None:
    stack = torch.rand(3, 2, 5, generator=torch.Generator().manual_seed(0)) * 2
    found = renewal_strength(stack, transform="exp", sharpness=2.0, threshold=0.5)
    for place in ((0, 0), (2, 1)):
        one = renewal_strength(stack[place], transform="exp", sharpness=2.0, threshold=0.5)
        assert torch.equal(found[place], one)


def test_another_transform_is_refused() -> None:
    with pytest.raises(ConfigError, match="'softplus' or 'linear', got 'step'"):
        # Here annotations are checked besides, which would say it first.
        inspect.unwrap(renewal_strength)(
            torch.ones(2),
            transform="step",  # type: ignore[arg-type]
            sharpness=1.0,
            threshold=1.0,
        )
