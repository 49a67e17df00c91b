"""The contract's model, as a row wants it."""

from collections.abc import Callable

import pytest
from torch import nn

from contract.rows import VARIANTS


@pytest.fixture
def small_cnn(
    request: pytest.FixtureRequest, small_cnn: Callable[[int], nn.Module]
) -> Callable[[int], nn.Module]:
    """The model, prepared by the row that the test's parameter `recipe` or `name` names."""
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    row = VARIANTS.get(given.get("recipe", given.get("name", "")))

    def make(seed: int) -> nn.Module:
        model = small_cnn(seed)
        if row is not None:
            row.prepare(model)
        return model

    return make
