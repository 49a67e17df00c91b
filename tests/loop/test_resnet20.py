"""A ResNet-20 in a hand-written loop on real images: it trains, and until the first renewal it is the plain run."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import regrow
from regrow.lab.models import registry as models
from traced import attach_traced

STEPS, BATCH = 14, 32


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    digits = load_digits()
    images = torch.tensor(digits.images[: STEPS * BATCH], dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target[: STEPS * BATCH])
    return images.repeat(1, 3, 1, 1), labels


def _model() -> nn.Module:
    return models.build(
        "resnet20", in_channels=3, image_size=(8, 8), classes=10, settings={}, seed=0
    )


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    images, labels = _images()
    losses = []
    for step in steps:
        batch = slice(step * BATCH, (step + 1) * BATCH)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


def test_trains_bit_equal_until_a_filter_dies_and_is_renewed() -> None:
    plain, watched = _model(), _model()
    plain_optimizer, optimizer = _sgd(plain), _sgd(watched)
    regrower = attach_traced(
        regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0),
        watched,
        optimizer,
        example_inputs=_images()[0][:2],
    )
    _train(plain, plain_optimizer, range(10))
    losses = _train(watched, optimizer, range(10))
    assert losses[-1] < 0.8 * losses[0]
    assert regrower.report.renewed == 0
    assert sum(regrower.report.layers.values()) == 16 + 6 * 16 + 6 * 32 + 6 * 64
    assert "head" not in regrower.report.layers
    for (name, value), other in zip(
        watched.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name

    # Scale 0 and a negative shift before a ReLU: no gradient reaches the filter, and only a reset of the norm entry,
    # here together with fresh weights, brings it back.
    dead, norm = "stage2.1.conv1", watched.get_submodule("stage2.1.bn1")
    with torch.no_grad():
        norm.weight[5], norm.bias[5] = 0.0, -1.0  # type: ignore[index]
    _train(watched, optimizer, range(10, 11))
    assert [(event.layer, event.filters) for event in regrower.report.events] == [(dead, (5,))]
    assert norm.weight[5] == 1.0  # type: ignore[index]
    before = watched.get_parameter(f"{dead}.weight")[5].clone()
    _train(watched, optimizer, range(11, 12))
    assert not torch.equal(before, watched.get_parameter(f"{dead}.weight")[5])
    assert regrower.report.renewed == 1
    assert _train(watched, optimizer, range(12, 14))[-1] == pytest.approx(losses[-1], rel=0.6)
