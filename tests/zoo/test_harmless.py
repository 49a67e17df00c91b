"""Nothing living is renewed in real architectures whose scales or gates begin at zero, and what is dead is found."""

from __future__ import annotations

import pytest

from zoo import harmless
from zoo.nets import WHY_NOT_HERE, installed

pytestmark = pytest.mark.skipif(not installed(), reason=WHY_NOT_HERE)


def _judge(name: str, optimizer: str, **shorter: int) -> None:
    found = harmless.run(name, optimizer, **shorter)
    assert found.living == 0
    if found.killed is not None:
        assert found.found_after is not None
        assert found.found_after <= 10


def test_the_residual_network_whose_scales_begin_at_zero() -> None:
    _judge("resnet10t", "sgd", steps=11, size=32)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", harmless.OPTIMIZERS)
@pytest.mark.parametrize("name", harmless.NAMES)
def test_each_architecture_as_it_comes(name: str, optimizer: str) -> None:
    _judge(name, optimizer)
