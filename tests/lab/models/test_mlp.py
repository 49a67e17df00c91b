"""Dense layers alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from regrow.engine import program_of
from regrow.lab.models.registry import build, defaults, distinguishing


def test_it_is_a_chain_of_dense_layers_and_relu() -> None:
    model = build(
        "mlp",
        in_channels=2,
        image_size=(3, 4),
        classes=5,
        settings={"depth": 3, "width": 7},
        seed=0,
    )
    sizes = [tuple(weight.shape) for name, weight in model.named_parameters() if "weight" in name]
    assert sizes == [(7, 24), (7, 7), (7, 7), (5, 7)]
    images = torch.randn(6, 2, 3, 4)
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    x = images.flatten(1).double()
    for layer in ("hidden.dense1", "hidden.dense2", "hidden.dense3"):
        x = (x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]).clamp(min=0)
    logits = x @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(model(images).double(), logits, rtol=1e-5, atol=1e-6)


def test_it_runs_in_a_stack() -> None:
    model = build("mlp", in_channels=1, image_size=(4, 4), classes=3, settings={}, seed=0)
    assert program_of(model).steps


def made(**settings: Any) -> nn.Module:
    return build(
        "mlp",
        in_channels=1,
        image_size=(4, 4),
        classes=3,
        settings={"width": 8, **settings},
        seed=0,
    )


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_norm_and_activation_by_their_formulas_from_the_same_weights(
    norm: str, activation: str
) -> None:
    model = made(norm=norm, activation=activation)
    state = {name: tensor.double() for name, tensor in made().state_dict().items()}
    x = images = torch.randn(6, 1, 4, 4).flatten(1).double()
    for number in (1, 2):
        x = x @ state[f"hidden.dense{number}.weight"].T + state[f"hidden.dense{number}.bias"]
        if norm == "layer":
            centred = x - x.mean(1, keepdim=True)
            x = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        x = torch.where(x > 0, x, (0.01 if activation == "leaky_relu" else 0.0) * x)
    logits = x @ state["head.weight"].T + state["head.bias"]
    found = model(images.float().reshape(6, 1, 4, 4)).double()
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-5)


def test_a_network_without_what_came_later_is_filed_as_before() -> None:
    assert distinguishing("mlp", defaults("mlp")).keys() == {"depth", "width", "init"}
    given = {**defaults("mlp"), "norm": "layer", "activation": "leaky_relu"}
    assert distinguishing("mlp", given) == given
