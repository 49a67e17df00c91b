"""The ring: one snapshot, equal networks, two that meet, partners that are no numbers or of another architecture."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn

from crossed import crossed, pairs
from partners import oracle
from partners.nets import Plain, Residual, attach, copies, differing, random
from regrow.errors import ConfigError, NonFiniteWarning

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


@pytest.mark.parametrize(("dtype", "mode"), crossed(DTYPES, ["paper", "reference"]))
def test_two_networks_are_alike_afterwards(mode: str, dtype: torch.dtype) -> None:
    models = [random(Residual, seed, dtype=dtype) for seed in range(2)]
    attach(models, mode=mode).graft()
    first, second = (dict(model.named_parameters()) for model in models)
    for name in first:
        if mode == "reference" and name == "temperature":  # before the first convolution
            continue
        close = torch.finfo(dtype).eps * 8
        assert torch.allclose(first[name].double(), second[name].double(), rtol=close, atol=close)


@pytest.mark.parametrize(("dtype", "unit"), crossed(DTYPES, ["layer", "filter"]))
def test_plain_averaging_gives_the_same_bits_from_both_sides(unit: str, dtype: torch.dtype) -> None:
    models = [random(Residual, seed, dtype=dtype) for seed in range(2)]
    with torch.no_grad():
        for model in models:  # by filter the shares come from the scales
            for norm in ("bn1", "bn2"):
                model.get_parameter(f"{norm}.weight").fill_(1.0)
    attach(models, amplitude=0.0, unit=unit).graft()
    first, second = (dict(model.named_parameters()) for model in models)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    ("settings", "networks"), crossed([{}, {"mode": "reference"}, {"unit": "filter"}], [2, 3])
)
def test_equal_networks_stay_as_they_are(settings: dict[str, str], networks: int) -> None:
    models = [random(Residual, 5, dtype=torch.float32) for _ in range(networks)]
    before = copies(models[0])
    attach(models, **settings).graft()
    for model in models:
        assert differing(before, copies(model)) == []


def test_all_are_blended_from_one_snapshot() -> None:
    """Four networks in a ring: each takes from what the one before was, not from what it has become."""
    models = [random(Plain, seed) for seed in range(4)]
    weights = [model.get_parameter("conv2.weight").detach().clone() for model in models]
    attach(models, amplitude=0.0).graft()
    for k, model in enumerate(models):
        mean = (weights[k] + weights[k - 1]) / 2
        assert torch.allclose(model.get_parameter("conv2.weight"), mean, rtol=0, atol=1e-14)


def test_tensors_keep_their_identity_and_storage() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    kept = [
        [(id(value), value.data_ptr()) for value in (*m.parameters(), *m.buffers())] for m in models
    ]
    versions = [[value._version for value in model.parameters()] for model in models]
    attach(models).graft()
    for model, places, old in zip(models, kept, versions, strict=True):
        assert places == [
            (id(value), value.data_ptr()) for value in (*model.parameters(), *model.buffers())
        ]
        # Writes that autograd does not see (`.data`) would not count.
        assert all(p._version > v for p, v in zip(model.parameters(), old, strict=True))
        assert all(value.requires_grad and value.grad is None for value in model.parameters())


def test_a_graft_between_forward_and_backward_is_noticed_by_torch() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    grafter = attach(models)
    loss = models[0](torch.randn(4, 1, 8, 8, dtype=torch.float64)).sum()
    grafter.graft()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    ("criterion", "bad", "mode"),
    crossed(
        pairs(["entropy", "l1", "filter_entropy"], [math.nan, math.inf]), ["paper", "reference"]
    ),
)
def test_layers_that_are_no_numbers_are_left_alone_and_told_once(
    criterion: str, bad: float, mode: str
) -> None:
    models = [random(Plain, seed) for seed in range(2)]
    with torch.no_grad():
        models[1].get_parameter("conv2.weight")[0, 0, 0, 0] = bad
    before = copies(models[0])
    grafter = attach(models, criterion=criterion, mode=mode)
    with pytest.warns(NonFiniteWarning, match=r"network \d, conv2.*layer is left alone"):
        events = grafter.graft()
    after = copies(models[0])
    for name in ("conv2.weight", "bn2.weight", "bn2.running_mean"):
        assert torch.equal(before[name], after[name])
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])
    left = {event.layer for event in events if math.isnan(event.share)}
    assert left == {"conv2" if mode == "paper" else "conv2.weight"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grafter.graft()


def test_a_partner_that_has_diverged_spoils_nothing() -> None:
    models = [random(Residual, seed) for seed in range(2)]
    with torch.no_grad():
        for value in (*models[1].parameters(), *models[1].buffers()):
            if value.is_floating_point():
                value.fill_(math.nan)
    before = copies(models[0])
    with pytest.warns(NonFiniteWarning):
        attach(models).graft()
    floating = [name for name, value in before.items() if value.is_floating_point()]
    after = copies(models[0])
    assert [name for name in floating if not torch.equal(before[name], after[name])] == []


def test_a_partners_bias_norm_or_free_number_that_is_none_is_left_alone() -> None:
    models = [random(Residual, seed) for seed in range(2)]
    names = ["conv2.bias", "bn1.running_var", "bn2.weight", "temperature"]
    with torch.no_grad():
        for name in names:
            value = models[1].state_dict()[name]
            value.view(-1)[0] = math.inf
    before = copies(models[0])
    attach(models).graft()
    after = copies(models[0])
    for name in names:
        assert torch.equal(before[name], after[name])
    assert not torch.equal(before["conv2.weight"], after["conv2.weight"])


class Wider(Plain):
    """The second convolution and all behind it are of another size; the head has another name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2, self.bn2 = nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)


def test_networks_of_different_architecture_share_what_matches() -> None:
    models: list[nn.Module] = [random(Plain, 0), random(Wider, 1)]
    before = [copies(model) for model in models]
    grafter = attach(models)
    told = [note for note in grafter.report.notes if "left alone" in note]
    assert told == [
        "network 0: not in the network before it, left alone: conv2, head",
        "network 1: not in the network before it, left alone: conv2, head",
    ]
    events = grafter.graft()
    assert {(event.partner, event.layer) for event in events} == {(0, "conv1"), (1, "conv1")}
    numbers = [oracle.values(each) for each in before]
    share = oracle.alpha(*(oracle.entropy(each["conv1.weight"]) for each in numbers))
    for name in ("conv1.weight", "conv1.bias", "bn1.weight", "bn1.running_var"):
        expected = oracle.mix(numbers[0][name], numbers[1][name], share)
        found = oracle.values(models[0].state_dict())[name]
        assert found == pytest.approx(expected, abs=1e-12)
    for model, old in zip(models, before, strict=True):
        for name in ("conv2.weight", "bn2.weight", "head.weight"):
            assert torch.equal(model.state_dict()[name], old[name])
    # The head's bias has the same size in both, but its weight has not: they are of different layers.
    assert torch.equal(models[0].get_parameter("head.bias"), before[0]["head.bias"])


def test_networks_that_have_nothing_in_common_are_refused() -> None:
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)).double()
    message = "network 0 must have the name and shape of one in the network before it.*conv1, conv2"
    with pytest.raises(ConfigError, match=message):
        attach([random(Plain, 0), other])


def test_the_report_tells_each_layer_of_each_network() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    grafter = attach(models)
    heard: list[str] = []
    grafter.on_graft(lambda event: heard.append(event.layer))
    grafter.graft()
    assert heard == ["conv1", "conv2", "head"] * 2
    text = str(grafter.report)
    assert "grafting: 2 networks, 1 grafts" in text
    assert "network 1, conv2: kept" in text
