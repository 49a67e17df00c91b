"""The renewal of RePr: what a filter becomes, by kind of layer and setting."""

import math
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from regrow.errors import ConfigError
from regrow.graph.slices import rows
from regrow.loop.start.initialisers import resolve_layers
from regrow.renewal import Edit, Layer, Orthogonal

SHAPES: dict[str, tuple[nn.Module, bool]] = {
    "3x3, room for all": (nn.Conv2d(4, 8, 3, padding=1), True),
    "1x1, no room": (nn.Conv2d(4, 8, 1), False),
    "1x1, some room": (nn.Conv2d(6, 5, 1), False),
    "depthwise": (nn.Conv2d(12, 12, 3, padding=1, groups=12), True),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, padding=1), True),
    "grouped, transposed": (nn.ConvTranspose2d(8, 4, 3, padding=1, groups=2), True),
}


def _layer(module: nn.Module, *, with_readers: bool = False) -> tuple[nn.Module, Layer]:
    inputs, outputs = module.in_channels, module.out_channels
    behind = (nn.BatchNorm2d(outputs), nn.ReLU(), nn.Conv2d(outputs, 3, 1), nn.Flatten())
    net = nn.Sequential(module, *behind, nn.Linear(3 * 36, 2))
    wiring = regrow.trace(net.eval(), torch.zeros(1, inputs, 6, 6))
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    (layer,) = resolve_layers(net, [wiring["0"]], tensors, init=None, with_readers=with_readers)
    return net, layer


def _edits(
    net: nn.Module, layer: Layer, *filters: int, seed: int = 0, **settings: Any
) -> dict[str, Edit]:
    mask = torch.zeros(layer.filters.count, dtype=torch.bool)
    mask[list(filters)] = True
    params = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    found = Orthogonal(**settings).edits(layer, mask, params=params, seed=seed, step=3)
    return {edit.name: edit for edit in found}


def _new(net: nn.Module, layer: Layer, *filters: int, **settings: Any) -> torch.Tensor:
    value = _edits(net, layer, *filters, **settings)[layer.filters.weight].value
    return rows(torch.as_tensor(value), layer.filters)[list(filters)]


@pytest.mark.parametrize("shape", SHAPES)
def test_new_directions(shape: str) -> None:
    module, room = SHAPES[shape]
    net, layer = _layer(module)
    old = rows(module.weight.detach(), layer.filters).double()
    new = _new(net, layer, 0, 2).double()
    assert new.isfinite().all()
    survivors = old[[index for index in range(len(old)) if index not in {0, 2}]]
    length = survivors.norm(dim=1).mean()
    torch.testing.assert_close(new.norm(dim=1), length.expand(2), rtol=1e-5, atol=0)
    cosines = ((new / length) @ (old / old.norm(dim=1, keepdim=True)).mT).abs()
    width = len(old) // module.groups  # filters of other groups read other inputs
    near = torch.tensor(
        [[f // width == index // width for index in range(len(old))] for f in (0, 2)]
    )
    assert (cosines[near].max() < 1e-5) == room  # to its own old values, and to every other
    if near[0, 2]:
        assert abs(float(new[0] @ new[1])) < 1e-5 * float(length) ** 2


@pytest.mark.parametrize("lost", [0.0, math.nan])
def test_survivors_without_a_length_do_not_count(lost: float) -> None:
    net, layer = _layer(nn.Conv2d(4, 8, 3, padding=1))
    with torch.no_grad():
        net[0].weight[4:] = lost
    new = _new(net, layer, 0)
    expected = net[0].weight[1:4].detach().flatten(1).norm(dim=1).mean()
    torch.testing.assert_close(new.norm(), expected)
    with torch.no_grad():
        net[0].weight[:] = lost
    torch.testing.assert_close(_new(net, layer, 0), _new(net, layer, 0, scale="initialiser"))


def test_the_length_can_be_the_initialisers() -> None:
    net, layer = _layer(nn.Conv2d(4, 8, 3, padding=1))
    bound = 1 / math.sqrt(4 * 9)  # torch's own for a convolution
    lengths = _new(net, layer, 1, 5, scale="initialiser").norm(dim=1)
    assert lengths[0] != lengths[1]
    assert (lengths < bound * math.sqrt(36)).all()
    with torch.no_grad():
        net[0].weight.mul_(100.0)
    again = _new(net, layer, 1, 5, scale="initialiser").norm(dim=1)
    torch.testing.assert_close(again, lengths, rtol=1e-6, atol=0)
    assert _new(net, layer, 1).norm() > 10 * lengths[0]


def test_without_survivors_the_length_is_the_initialisers() -> None:
    net, layer = _layer(nn.Conv2d(4, 3, 3, padding=1))
    torch.testing.assert_close(
        _new(net, layer, 0, 1, 2), _new(net, layer, 0, 1, 2, scale="initialiser")
    )


def test_it_is_a_function_of_the_seed() -> None:
    net, layer = _layer(nn.Conv2d(4, 8, 3, padding=1))
    assert torch.equal(_new(net, layer, 1), _new(net, layer, 1))
    assert not torch.equal(_new(net, layer, 1), _new(net, layer, 1, seed=1))


def test_what_belongs_to_a_filter() -> None:
    net, layer = _layer(nn.Conv2d(4, 8, 3, padding=1), with_readers=True)
    found = _edits(net, layer, 1)
    values = {name: edit.value for name, edit in found.items() if name != "0.weight"}
    assert values == {
        "0.bias": 0.0,
        "1.weight": 1.0,
        "1.bias": 0.0,
        "1.running_mean": 0.0,
        "1.running_var": 1.0,
    }
    assert _edits(net, layer, 1, bias="keep", norm="keep").keys() == {"0.weight"}
    assert _edits(net, layer, 1, readers="zero")["3.weight"].value == 0.0
    drawn = _edits(net, layer, 1, readers="redraw")["3.weight"]
    assert drawn.mask.flatten().nonzero().tolist() == [[1]]
    assert torch.as_tensor(drawn.value)[:, 1].all()


def test_what_it_says_of_itself() -> None:
    assert not Orthogonal().touches_readers
    assert Orthogonal(readers="zero").touches_readers
    assert Orthogonal(readers="redraw").draws_readers
    assert Orthogonal(preserve=True).touches_readers
    for wrong, message in (
        ({"scale": "one"}, "scale must be 'survivors' or 'initialiser', got 'one'"),
        ({"bias": "one"}, "bias must be 'zero' or 'keep', got 'one'"),
        ({"readers": "redraw", "preserve": True}, "contradicts"),
    ):
        with pytest.raises(ConfigError, match=message):
            Orthogonal(**wrong)
