"""Dense layers alone."""

from __future__ import annotations

import torch

from regrow.engine import program_of
from regrow.lab.models.registry import build


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
