from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.errors import TraceError
from regrow.graph import ChannelNorm, NormTensor
from traced import attach_traced


class Rescale(nn.Module):
    """Each map over its largest entry, times a scale: nothing that a trace could follow by rules."""

    channel_axis = -3

    def __init__(self, channels: int, *, says: dict[str, float | str] | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 2.0))
        self.shift = nn.Parameter(torch.full((channels,), 3.0))
        self.register_buffer("seen", torch.full((channels,), 4.0))
        self.register_buffer("first", torch.tensor(0.5))
        self.says = says or {"scale": "first", "shift": -1.0, "seen": 7.0}

    def fresh_channel_entries(self) -> dict[str, float | str]:
        return self.says

    def forward(self, maps: Tensor) -> Tensor:
        largest = float(maps.detach().abs().max())  # read by Python: no trace gets past this
        scaled = maps / max(largest, 1e-6)
        return scaled * self.scale[:, None, None] + self.shift[:, None, None]


def net(**says: float | str) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), Rescale(4, says=says or None), nn.ReLU(), nn.Conv2d(4, 2, 3)
    )


def test_what_a_layer_says_of_itself_is_taken() -> None:
    wiring = regrow.trace(net(), torch.zeros(1, 1, 8, 8))

    first = wiring["0"]
    assert not first.refused
    assert not first.coupled
    assert [reader.path for reader in first.readers] == ["3"]
    (norm,) = first.norms
    assert (norm.path, norm.kind, norm.channels) == ("1", "Rescale", ((0,), (1,), (2,), (3,)))
    assert norm.tensors == (
        NormTensor(name="1.scale", fresh="1.first", is_parameter=True),
        NormTensor(name="1.shift", fresh=-1.0, is_parameter=True),
        NormTensor(name="1.seen", fresh=7.0, is_parameter=False),
    )


def test_a_keyword_is_seen_too() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = net()

        def forward(self, x: Tensor) -> Tensor:
            return self.parts[3](self.parts[1](maps=self.parts[0](x)))

    wiring = regrow.trace(Net(), torch.zeros(1, 1, 8, 8))

    assert [reader.path for reader in wiring["parts.0"].readers] == ["parts.3"]


def test_a_norm_behind_a_sum_belongs_to_no_writer_alone() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)
            self.norm, self.last = Rescale(4), nn.Conv2d(4, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(self.one(x) + self.two(x)))

    layer = regrow.trace(Net(), torch.zeros(1, 1, 8, 8))["one"]

    assert layer.norms == ()
    assert layer.shared_norms[0].channels == ((0,), (1,), (2,), (3,))


def test_a_renewed_filter_gets_what_the_layer_says_and_the_others_keep_their_bits() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e-3, active_fraction=1.0)
    with torch.no_grad():
        model[1].first.fill_(0.25)
        model[3].weight[:, 2] = 0  # so that filter 2 has no gradient
    with attach_traced(
        recipe, model, optimizer, example_inputs=torch.zeros(1, 1, 8, 8), total_steps=2
    ) as regrower:
        model(torch.randn(2, 1, 8, 8)).square().sum().backward()
        optimizer.step()
    assert [(event.layer, event.filters) for event in regrower.report.events] == [("0", (2,))]

    norm = model[1]
    assert norm.scale.tolist() == [2.0, 2.0, 0.25, 2.0]
    assert norm.shift.tolist() == [3.0, 3.0, -1.0, 3.0]
    assert norm.seen.tolist() == [4.0, 4.0, 7.0, 4.0]


def test_what_the_optimizer_does_not_train_stays() -> None:
    model = net()
    model[1].scale.requires_grad_(requires_grad=False)
    others = [each for name, each in model.named_parameters() if name != "1.scale"]
    optimizer = torch.optim.SGD(others, lr=0.0)
    with torch.no_grad():
        model[3].weight[:, 2] = 0
    with attach_traced(
        regrow.RandomOut(confirm="gradient", threshold=1e-3, active_fraction=1.0),
        model,
        optimizer,
        example_inputs=torch.zeros(1, 1, 8, 8),
        total_steps=2,
    ) as regrower:
        model(torch.randn(2, 1, 8, 8)).square().sum().backward()
        optimizer.step()

    assert regrower.report.events
    assert model[1].scale.tolist() == [2.0] * 4
    assert model[1].shift.tolist() == [3.0, 3.0, -1.0, 3.0]
    assert any("1.scale kept" in note for note in regrower.report.notes)


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ({"missing": 0.0}, "'missing' must be a tensor of its own of 4 numbers, and it has none"),
        ({"first": 0.0}, "'first' must be a tensor of its own of 4 numbers, and it has of 1"),
        ({"scale": "shift"}, "'shift' must be a tensor of its own of 1 numbers, and it has of 4"),
    ],
)
def test_what_cannot_be_is_refused(says: dict[str, float | str], told: str) -> None:
    with pytest.raises(TraceError, match=told):
        regrow.trace(net(**says), torch.zeros(1, 1, 8, 8))


def test_a_layer_that_changes_the_shape_is_refused() -> None:
    class Halves(Rescale):
        def forward(self, maps: Tensor) -> Tensor:
            return maps[:, :2]

    model = nn.Sequential(nn.Conv2d(1, 4, 3), Halves(4), nn.Conv2d(2, 2, 3))
    with pytest.raises(TraceError, match=r"one of the same shape, and had \[\(1, 4, 6, 6\)"):
        regrow.trace(model, torch.zeros(1, 1, 8, 8))


def test_torch_layers_are_looked_into() -> None:
    assert not isinstance(nn.BatchNorm2d(2), ChannelNorm)
