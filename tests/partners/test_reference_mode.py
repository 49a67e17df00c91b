"""Mode 'reference' against the public code's formulas, written anew."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossed import crossed, pairs
from partners import oracle
from partners.nets import Depthwise, Plain, Residual, attach, copies, random
from regrow.functional import weight_entropy

SETTINGS = {"mode": "reference", "drop_maximum": True, "decimals": 2}


@pytest.mark.parametrize(
    ("build", "sharpness", "networks"),
    crossed(pairs([Plain, Residual, Depthwise], [500.0, 5.0]), [2, 3]),
)
def test_the_share_is_carried_along_in_the_order_of_the_state_dict(
    build: type[nn.Module], networks: int, sharpness: float
) -> None:
    models = [random(build, seed) for seed in range(networks)]
    before = [copies(model) for model in models]
    grafter = attach(models, sharpness=sharpness, **SETTINGS)
    grafter.graft()
    expected = oracle.public_graft(before, sharpness=sharpness)
    for k, model in enumerate(models):
        for name, value in model.state_dict().items():
            if name == "temperature":  # before the first convolution
                continue
            assert value.dtype == before[k][name].dtype
            assert torch.allclose(value, expected[k][name], rtol=0, atol=1e-12), name


def test_what_comes_before_the_first_convolution_is_left_alone_and_named() -> None:
    models = [random(Residual, seed) for seed in range(2)]
    before = float(models[0].get_parameter("temperature").detach())
    grafter = attach(models, **SETTINGS)
    grafter.graft()
    assert float(models[0].get_parameter("temperature").detach()) == before
    told = [note for note in grafter.report.notes if "temperature" in note]
    assert len(told) == 2
    assert "before the first 'conv', left alone" in told[0]


def test_a_bias_of_a_convolution_is_measured_by_itself() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    events = attach(models, **SETTINGS).graft()
    layers = [event.layer for event in events if event.partner == 0]
    assert layers == ["conv1.weight", "conv1.bias", "conv2.weight"]


@pytest.mark.parametrize("count", [50, 5000])
def test_the_entropy_is_the_public_codes(count: int) -> None:
    weights = torch.randn(count, generator=torch.Generator().manual_seed(count))
    found = float(weight_entropy(weights, drop_maximum=True))
    assert found == pytest.approx(oracle.public_entropy(weights), abs=1e-12)


def test_rounding_decides_whether_the_public_code_counts_the_largest_weight() -> None:
    """min + 10 ((max - min) / 10) is the maximum, or next to it on either side."""
    kept = 0
    for seed in range(60):
        weights = torch.randn(27, generator=torch.Generator().manual_seed(seed))
        for bins in (10, 7):
            found = weight_entropy(weights, bins=bins, drop_maximum=True)
            assert float(found) == pytest.approx(
                oracle.public_entropy(weights, bins=bins), abs=1e-12
            )
            kept += float(found) == float(weight_entropy(weights, bins=bins))
    assert 0 < kept < 120


def test_no_example_is_needed() -> None:
    import regrow

    models = [random(Plain, seed) for seed in range(2)]
    grafter = regrow.attach_partners(
        regrow.FilterGrafting(mode="reference"),
        models,
        [torch.optim.SGD(model.parameters(), lr=0.1) for model in models],
        hooks=False,
    )
    assert len(grafter.graft()) == 6
