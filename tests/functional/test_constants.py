"""The response to constant channels against the layers themselves."""

import pytest
import torch
from torch import nn

from regrow.errors import ShapeError
from regrow.functional import constant_response

MEANS = torch.tensor([0.5, -1.0, 2.0, 0.25])


def _constant(*space: int) -> torch.Tensor:
    return MEANS.double().reshape(1, 4, *(1,) * len(space)).expand(2, 4, *space)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 6, 3, bias=False),
        nn.Conv2d(4, 6, 3, stride=2, dilation=2, bias=False),
        nn.Conv2d(4, 6, (3, 1), groups=2, bias=False),
        nn.Conv2d(4, 8, 3, groups=4, bias=False),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate", bias=False),
        nn.Conv3d(4, 2, 2, bias=False),
    ],
)
def test_a_convolution_of_constants(layer: nn.Module) -> None:
    layer = layer.double()
    out = layer(_constant(*(9,) * (layer.weight.ndim - 2)))
    response = constant_response(
        layer.weight.detach(), MEANS.double(), kind="conv", groups=layer.groups
    )
    shape = (1, -1, *(1,) * (out.ndim - 2))
    torch.testing.assert_close(out, response.reshape(shape).expand_as(out))


def test_a_linear_layer() -> None:
    layer = nn.Linear(4, 3, bias=False).double()
    response = constant_response(layer.weight.detach(), MEANS.double(), kind="linear")
    torch.testing.assert_close(layer(MEANS.double()), response)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_inside(groups: int) -> None:
    """With a kernel of stride's size every output has one position; the mean over all outputs is exact."""
    layer = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=groups, bias=False).double()
    out = layer(_constant(5, 5))
    response = constant_response(
        layer.weight.detach(), MEANS.double(), kind="conv_transpose", groups=groups, taps=1 / 4
    )
    torch.testing.assert_close(out.mean((2, 3)), response.expand(2, 6))


def test_wrong_means() -> None:
    with pytest.raises(ShapeError, match=r"means of shape \(4,\) are needed, got \(3,\)"):
        constant_response(torch.zeros(2, 2, 1, 1), torch.zeros(3), kind="conv", groups=2)
