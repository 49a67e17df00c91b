"""Every formula comes checked to the tests of this folder, from whichever file it is in."""

import pytest
import torch
from jaxtyping import TypeCheckError

import regrow.functional
from regrow.functional import avoiding_directions, constant_response


@pytest.mark.parametrize("name", regrow.functional.__all__)
def test_every_formula_is_checked(name: str) -> None:
    assert hasattr(getattr(regrow.functional, name), "__wrapped__")


def test_other_shapes_are_refused() -> None:
    with pytest.raises(TypeCheckError):
        avoiding_directions(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(TypeCheckError):
        constant_response(torch.zeros(2, 3), torch.zeros(3, 1), kind="linear")
