from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from regrow.lab.measure import finite, finite_or_none, majority_share, measure


def test_outputs_that_are_not_finite_are_wrong() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            del x
            nan, inf = float("nan"), float("inf")
            return torch.tensor([[2.0, 1.0], [nan, 1.0], [inf, 1.0], [0.0, 1.0]])

    loss, accuracy = measure(Fixed(), torch.zeros(4, 1, 2, 2), torch.tensor([0, 0, 0, 0]))
    assert (loss, accuracy) == (None, 0.25)


def test_many_images_are_measured_as_one_batch() -> None:
    """More images than fit into one evaluation batch, against the loss of all at once in float64."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Dropout(0.9))
    x, y = torch.randn(2500, 1, 2, 2), torch.randint(0, 3, (2500,))
    loss, accuracy = measure(model, x, y)
    outputs = model[1].double()(x.flatten(1).double()).detach()
    assert loss is not None
    assert abs(loss - float(nn.functional.cross_entropy(outputs, y))) < 1e-6
    assert accuracy == float((outputs.argmax(1) == y).double().mean())


def test_the_majority_and_what_is_no_number() -> None:
    assert majority_share(torch.tensor([2, 0, 2, 2])) == 0.75
    assert [finite_or_none(value) for value in (1.5, float("nan"), float("-inf"))] == [
        1.5,
        None,
        None,
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_weight_that_is_no_number_is_found(value: float) -> None:
    model = nn.Sequential(nn.Linear(40, 50), nn.Linear(50, 2), nn.ParameterList([torch.zeros(0)]))
    assert finite(model)
    with torch.no_grad():
        model.get_parameter("0.weight")[49, 39] = value
    assert not finite(model)
    assert finite(nn.ReLU())
