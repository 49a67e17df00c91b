"""Blend: a part of the way, of everything that belongs to a filter, and of nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.errors import ConfigError
from regrow.loop.start.initialisers import resolve_layers
from regrow.renewal import Blend, Edit, Layer, Redraw
from regrow.renewal.draws import Split
from regrow.surgery import apply_edits_

ZEROED = Redraw(readers="zero")
NETS: dict[str, Any] = {
    "dense": lambda: (nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), (2, 5)),
    "conv, norm, flatten, dense": lambda: (
        nn.Sequential(
            *(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3)),
        ),
        (2, 2, 5, 5),
    ),
    "grouped": lambda: (
        nn.Sequential(
            *(nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 4, 1, groups=2), nn.Flatten()),
            nn.Linear(36, 2),
        ),
        (2, 2, 5, 5),
    ),
    "transposed": lambda: (
        nn.Sequential(
            *(nn.ConvTranspose2d(4, 6, 2, groups=2), nn.ReLU(), nn.ConvTranspose2d(6, 2, 1)),
            *(nn.Flatten(), nn.Linear(72, 2)),
        ),
        (2, 4, 5, 5),
    ),
}


def net_of(name: str) -> tuple[nn.Module, Layer]:
    """A network in float64 that is not as it was at the start, and its first layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, shape = NETS[name]()
        net = net.double()
        with torch.no_grad():
            for each in net.parameters():
                each.add_(torch.randn_like(each))
    wiring = regrow.trace(net.eval(), torch.zeros(shape, dtype=torch.float64))
    (first, *_) = resolve_layers(net, [wiring["0"]], tensors_of(net), init=None, with_readers=False)
    return net, first


def tensors_of(net: nn.Module) -> dict[str, Tensor]:
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def made(renewal: Any, net: nn.Module, layer: Layer, mask: Tensor) -> list[Edit]:
    before = {name: each.detach().clone() for name, each in tensors_of(net).items()}
    edits = renewal.edits(layer, mask, params=tensors_of(net), seed=1, step=3)
    after = tensors_of(net)
    assert all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in after)
    return edits


def written(renewal: Any, name: str, mask: Tensor, strengths: Tensor | None) -> dict[str, Tensor]:
    """The tensors after it."""
    net, layer = net_of(name)
    edits = made(renewal, net, replace(layer, strengths=strengths), mask)
    apply_edits_(tensors_of(net), edits)
    return {key: each.detach().clone() for key, each in tensors_of(net).items()}


MARKED = torch.tensor([True, True, False, True, True, False])
STRENGTHS = torch.tensor([0.25, 0.5, 0.9, 0.125, 0.015, 0.7], dtype=torch.float64)


@pytest.mark.parametrize("name", NETS)
def test_every_entry_goes_its_filters_share_of_the_way_to_the_whole_renewal(name: str) -> None:
    """The oracle: each filter renewed as a whole by itself, entry by entry; who has moved there moves r of that."""
    net, _ = net_of(name)
    before = {key: each.detach().clone() for key, each in tensors_of(net).items()}
    expected = {key: each.clone() for key, each in before.items()}
    parameters = dict(net.named_parameters())
    for unit in MARKED.nonzero()[:, 0].tolist():
        whole = written(ZEROED, name, torch.arange(6) == unit, None)
        for key in parameters:
            expected[key] += STRENGTHS[unit] * (whole[key] - before[key])
    found = written(Blend(), name, MARKED, STRENGTHS)
    for key, each in found.items():
        torch.testing.assert_close(each, expected[key], rtol=1e-12, atol=1e-14)
        untouched = expected[key] == before[key]
        assert torch.equal(each[untouched], before[key][untouched])
    # Running statistics are left to what they average.
    assert all(torch.equal(found[key], before[key]) for key in found if key not in parameters)


@pytest.mark.parametrize("name", NETS)
def test_all_the_way_it_is_the_whole_renewal_bit_for_bit(name: str) -> None:
    whole = written(ZEROED, name, MARKED, None)
    for strengths in (None, torch.ones(6, dtype=torch.float64)):
        found = written(Blend(), name, MARKED, strengths)
        assert all(torch.equal(found[key], whole[key]) for key in whole)


def test_shares_of_0_change_no_bit_and_make_no_edit() -> None:
    net, layer = net_of("dense")
    assert not made(Blend(), net, replace(layer, strengths=torch.zeros(6)), MARKED)
    assert not made(Blend(strength=0.3), net, layer, torch.zeros(6, dtype=torch.bool))


def test_the_strength_is_a_factor_and_stands_alone_with_yes_and_no() -> None:
    half = written(Blend(strength=0.5), "dense", MARKED, 0.5 * torch.ones(6, dtype=torch.float64))
    quarter = written(Blend(strength=0.25), "dense", MARKED, None)
    assert all(torch.equal(half[key], quarter[key]) for key in half)


def test_living_entries_are_shifted_and_those_of_which_nothing_is_left_are_fresh() -> None:
    net, layer = net_of("conv, norm, flatten, dense")
    strengths = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    edits = made(Blend(), net, replace(layer, strengths=strengths), MARKED)
    kinds = {(edit.name, edit.fresh) for edit in edits}
    parameters = {"0.weight", "0.bias", "1.weight", "1.bias", "4.weight"}
    assert kinds == {(name, fresh) for name in parameters for fresh in (False, True)} | {
        ("1.running_mean", True),
        ("1.running_var", True),
    }
    for edit in edits:
        marked = edit.mask.expand(tensors_of(net)[edit.name].shape)
        where = marked.any(0) if edit.name[0] == "4" else marked.reshape(6, -1).any(1)
        unit = 0 if edit.fresh else 1
        places = range(9 * unit, 9 * unit + 9) if edit.name[0] == "4" else [unit]
        assert where.nonzero()[:, 0].tolist() == [*places]


def test_an_entry_that_is_no_number_stays_none_unless_nothing_is_left_of_it() -> None:
    net, layer = net_of("dense")
    with torch.no_grad():
        net[0].weight[:2] = math.nan  # type: ignore[index]
    strengths = torch.tensor([1.0, 0.5, 0, 0, 0, 0], dtype=torch.float64)
    apply_edits_(tensors_of(net), made(Blend(), net, replace(layer, strengths=strengths), MARKED))
    assert net[0].weight[0].isfinite().all()  # type: ignore[index]
    assert net[0].weight[1].isnan().all()  # type: ignore[index]


def test_half_precision_is_blended_in_single() -> None:
    """0.4 % of a weight is less than bfloat16 tells apart; the sum is rounded once."""
    net, layer = net_of("dense")
    net.bfloat16()
    present = net[0].weight.detach().clone()  # type: ignore[index]
    fresh = made(ZEROED, net, layer, MARKED)[0].value
    strengths = torch.full((6,), 0.3)
    [edit, *_] = made(Blend(), net, replace(layer, strengths=strengths), MARKED)
    assert isinstance(edit.value, Tensor)
    assert isinstance(fresh, Tensor)
    expected = (0.7 * present.double() + 0.3 * fresh.double()).to(torch.bfloat16)
    assert torch.equal(edit.value[MARKED], expected[MARKED])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strength": 0.0}, "strength must be above 0, got 0.0"),
        ({"strength": 1.5}, r"strength must be within \[0, 1\], got 1.5"),
        ({"towards": 3}, "towards must be a regrow.renewal.Redraw, got 3"),
        ({"towards": Redraw(preserve=True)}, "must leave preserve and transfer as they are"),
        ({"towards": Redraw(transfer=True)}, "must leave preserve and transfer as they are"),
        ({"towards": Redraw(draw=Split())}, "must have a draw that leaves the readers alone"),
    ],
)
def test_what_cannot_be_blended_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Blend(**settings)
