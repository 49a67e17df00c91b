"""Layouts, kinds of numbers and kinds of layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from partners import oracle
from partners.nets import Plain, Residual, attach, copies, differing, random
from regrow.partners.mixing import apart, length, mix_, mix_all_, mix_and_measure_


class Up(nn.Module):
    """A grouped convolution and a grouped transposed one, with a norm each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)
        self.up, self.bn3 = nn.ConvTranspose2d(8, 6, 2, groups=2), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores."""
        maps = self.bn1(self.conv1(images)).relu()
        maps = self.bn3(self.up(self.bn2(self.conv2(maps)).relu())).relu()
        return self.head(maps.mean((2, 3)))


class Tied(nn.Module):
    """One convolution at two places, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.conv3 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.conv3.weight, self.conv3.bias = self.conv2.weight, self.conv2.bias
        self.head = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores."""
        maps = self.bn1(self.conv1(images)).relu()
        return self.head(self.conv3(self.conv2(maps).relu()).relu().mean((2, 3)))


@pytest.mark.parametrize("unit", ["layer", "filter"])
def test_groups_and_transposed_convolutions(unit: str) -> None:
    models = [random(Up, seed) for seed in range(2)]
    own, partner = (copies(model) for model in models)
    attach(models, unit=unit, sharpness=3.0).graft()
    found = copies(models[0])
    for layer, norm in (("conv2", "bn2"), ("up", "bn3")):
        a, b = own[f"{layer}.weight"], partner[f"{layer}.weight"]
        if unit == "layer":
            share = oracle.alpha(
                *(oracle.entropy(x.reshape(-1).tolist()) for x in (a, b)), sharpness=3.0
            )
            expected = share * a + (1 - share) * b
        else:
            before = "bn1" if layer == "conv2" else "bn2"
            rows, columns = (
                own[f"{name}.weight"].abs()
                / (own[f"{name}.weight"].abs() + partner[f"{name}.weight"].abs())
                for name in (norm, before)
            )
            expected = torch.empty_like(a)
            for o in range(len(rows)):
                group = o // (len(rows) // 2)
                for i in range(len(columns) // 2):
                    channel = group * (len(columns) // 2) + i
                    share = (rows[o] + columns[channel]) / 2
                    # A transposed convolution has its inputs first, and its outputs split over the groups.
                    place = (o, i) if layer == "conv2" else (channel, o % (len(rows) // 2))
                    expected[place] = share * a[place] + (1 - share) * b[place]
        assert torch.allclose(found[f"{layer}.weight"], expected, rtol=0, atol=1e-12), layer


@pytest.mark.parametrize("mode", ["paper", "reference"])
def test_tied_weights_are_blended_once(mode: str) -> None:
    models = [random(Tied, seed) for seed in range(2)]
    own, partner = (model.get_parameter("conv2.weight").detach().clone() for model in models)
    events = attach(models, mode=mode, amplitude=0.0).graft()
    assert torch.equal(models[0].get_parameter("conv3.weight"), (own + partner) / 2)
    assert models[0].get_parameter("conv3.weight") is models[0].get_parameter("conv2.weight")
    assert not any(event.layer.startswith("conv3") for event in events)


def test_channels_last_and_contiguous_come_out_alike() -> None:
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        models = [random(Residual, seed, dtype=torch.float32) for seed in range(3)]
        for model in models:
            model.to(memory_format=layout)  # type: ignore[call-overload]
        strides = models[0].get_parameter("conv2.weight").stride()
        attach(models).graft()
        assert models[0].get_parameter("conv2.weight").stride() == strides
        ends.append([copies(model) for model in models])
    for first, second in zip(*ends, strict=True):
        assert differing(first, second) == []


def test_partners_of_two_layouts() -> None:
    ends = []
    for layouts in ((torch.contiguous_format,) * 2, (torch.contiguous_format, torch.channels_last)):
        models = [random(Plain, seed, dtype=torch.float32) for seed in range(2)]
        for model, layout in zip(models, layouts, strict=True):
            model.to(memory_format=layout)  # type: ignore[call-overload]
        attach(models).graft()
        ends.append([copies(model) for model in models])
    for first, second in zip(*ends, strict=True):
        assert differing(first, second) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_are_mixed_in_more(dtype: torch.dtype) -> None:
    models = [random(Plain, seed, dtype=dtype) for seed in range(2)]
    wide = [random(Plain, seed, dtype=dtype).double() for seed in range(2)]
    for model in (
        models
    ):  # a norm in float16 does not run on every processor: the wiring is that of its twin
        assert model.get_parameter("conv1.weight").dtype == dtype
    import regrow

    wiring = regrow.trace(wide[0], torch.zeros(2, 1, 8, 8, dtype=torch.float64))
    attach(models, wiring=wiring).graft()
    attach(wide, wiring=wiring).graft()
    for name, value in models[0].state_dict().items():
        exact = wide[0].state_dict()[name]
        if value.is_floating_point():
            assert torch.allclose(value.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-6)
            assert value.dtype == dtype


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("count", [1, 7, (1 << 17) + 5])
def test_a_blend_in_place_is_the_blend(share: float, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    own, partner = (torch.randn(count, generator=generator) for _ in range(2))
    exact = share * own.double() + (1 - share) * partner.double()
    weight = torch.tensor(share, dtype=torch.float64)
    one, other = own.clone(), own.clone()
    mix_(one, partner, weight)
    mix_all_([(other, partner, weight.expand(count)), (torch.zeros(3), torch.ones(3), weight)])
    third = own.clone()
    way = mix_and_measure_(third, partner, weight)
    assert way == pytest.approx(float((own - partner).double().norm()), rel=1e-5)
    assert torch.equal(third, one)
    for found in (one, other):
        assert torch.allclose(found.double(), exact, rtol=0, atol=5e-7)
    if share == 1.0:
        assert torch.equal(other, own)


def test_both_sides_of_a_blend_are_one() -> None:
    generator = torch.Generator().manual_seed(3)
    own, partner = (torch.randn(1000, generator=generator) for _ in range(2))
    shares = torch.rand(50, generator=generator, dtype=torch.float64)
    for share in (*shares, torch.tensor(0.5, dtype=torch.float64)):
        mine, theirs = own.clone(), partner.clone()
        mix_(mine, partner, share)
        mix_(theirs, own, 1.0 - share)
        assert torch.equal(mine, theirs)


def test_a_blend_does_not_depend_on_how_the_entries_lie_in_memory() -> None:
    generator = torch.Generator().manual_seed(3)
    own, partner = (torch.randn(64, 32, 3, 3, generator=generator) for _ in range(2))
    for share in (0.3, 0.5, 0.7):
        weight, ends = torch.tensor(share, dtype=torch.float64), []
        for mine in (torch.contiguous_format, torch.channels_last):
            for theirs in (torch.contiguous_format, torch.channels_last):
                # What `contiguous` gives back may be the tensor itself.
                ends.append(own.clone().contiguous(memory_format=mine))
                mix_(ends[-1], partner.contiguous(memory_format=theirs), weight)
                ends.append(own.clone().contiguous(memory_format=mine))
                mix_and_measure_(ends[-1], partner.contiguous(memory_format=theirs), weight)
        assert not torch.equal(ends[0], own)
        assert all(torch.equal(ends[0], each) for each in ends)


def test_lengths_in_pieces() -> None:
    generator = torch.Generator().manual_seed(4)
    own, partner = (torch.randn(3, 70_001, generator=generator) for _ in range(2))
    assert length(own) == pytest.approx(float(own.double().norm()), rel=1e-5)
    assert apart(own, partner) == pytest.approx(float((own - partner).double().norm()), rel=1e-5)
    assert length(torch.zeros(0)) == 0.0
    assert apart(own.to(torch.bfloat16), own.to(torch.bfloat16)) == 0.0
