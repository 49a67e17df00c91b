"""What all scions share: which entries they write, by kind of layer, and whose memory goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import pytest
import torch
from torch import nn

from regrow.draw import Key
from regrow.graph.slices import rows
from regrow.renewal import AddNoise, AddStrongest, Scion
from regrow.schedule import Clock
from renewal.layers import edits_of, layer_of

SHAPES: dict[str, Callable[[], nn.Module]] = {
    "3x3": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "1x1, without a bias": lambda: nn.Conv2d(4, 6, 1, bias=False),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, padding=1),
    "grouped, transposed": lambda: nn.ConvTranspose2d(4, 6, 3, padding=1, groups=2),
}
MARKED = [0, 3]


@final
@dataclass(frozen=True, kw_only=True)
class Tens(Scion):
    """Adds ten times the filter's number plus one to everything, but nothing to filter 0."""

    reset_optimizer: bool = False

    def scions(
        self, present: torch.Tensor, mask: torch.Tensor, *, key: Key
    ) -> tuple[torch.Tensor, torch.Tensor]:
        numbers = 10.0 * torch.arange(1, len(present) + 1)
        return numbers[:, None].expand_as(present), mask & (numbers > 10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scion", [AddNoise(steps_per_epoch=5), AddStrongest(), Tens()])
def test_only_the_weights_of_marked_filters_are_written(scion: Scion, shape: str) -> None:
    net, layer = layer_of(SHAPES[shape]())
    (edit,) = edits_of(scion, net, layer, *MARKED)
    weight = net[0].weight.detach()
    assert edit.name == "0.weight"
    assert edit.is_parameter
    after = rows(torch.where(edit.mask, torch.as_tensor(edit.value), weight), layer.filters)
    changed = (after != rows(weight, layer.filters)).all(1).tolist()
    untouched = (after == rows(weight, layer.filters)).all(1).tolist()
    written = MARKED[1:] if isinstance(scion, Tens) else MARKED
    assert [index for index in range(6) if changed[index]] == written
    assert [index for index in range(6) if not untouched[index]] == written


@pytest.mark.parametrize("kind", [AddNoise, AddStrongest, Tens])
def test_whether_the_filters_count_as_new(kind: Callable[..., Scion]) -> None:
    net, layer = layer_of(nn.Conv2d(4, 6, 3, padding=1))
    told = {"steps_per_epoch": 5} if kind is AddNoise else {}
    assert [edit.fresh for edit in edits_of(kind(**told), net, layer, 1)] == [False]
    fresh = kind(reset_optimizer=True, **told)
    assert [edit.fresh for edit in edits_of(fresh, net, layer, 1)] == [True]


def test_no_edit_where_nothing_is_given() -> None:
    net, layer = layer_of(nn.Conv2d(4, 6, 3, padding=1))
    assert edits_of(Tens(), net, layer, 0) == []
    assert edits_of(Tens(), net, layer) == []


def test_what_they_say_of_themselves() -> None:
    _, layer = layer_of(nn.Conv2d(4, 6, 3, padding=1))
    for scion in (AddNoise(), AddStrongest()):
        assert not scion.touches_readers
        assert not scion.draws_readers
        assert not scion.keeps_output
        assert scion.left_alone(layer.filters) == []
    clock = Clock(steps_per_epoch=3)
    assert AddStrongest().bind(clock, where="test") == AddStrongest()
