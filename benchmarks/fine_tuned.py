"""A network that has been trained before, for studies of fine-tuning: nothing is downloaded.

Trained on the first half of scikit-learn's digits to tell odd from even, then given a new output layer. The seed of the
study draws that output layer alone: what was learned before is the same in every trial.

    cd benchmarks; regrow run ../studies/keepalive-harmless-fine-tuned.toml
"""

from __future__ import annotations

import functools

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

EPOCHS = 30


def fine_tuned(*, in_channels: int, image_size: tuple[int, int], classes: int) -> nn.Module:
    """The trained network with a new output layer."""
    if (in_channels, *image_size) != (1, 8, 8):
        raise ValueError(
            f"the network was trained on images of 1x8x8, got {(in_channels, *image_size)}"
        )
    model = network(classes)
    model.load_state_dict({**model.state_dict(), **learned()})
    return model


def network(classes: int) -> nn.Sequential:
    """Two convolutions and a dense layer, without norms."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


@functools.cache
def learned() -> dict[str, Tensor]:
    """The weights before the output layer after the first task."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network(2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        digits = load_digits()
        half = len(digits.target) // 2
        images = torch.tensor(digits.images[:half] / 16, dtype=torch.float32)[:, None]
        odd = torch.tensor(digits.target[:half] % 2)
        for _ in range(EPOCHS):
            for batch in torch.randperm(half).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), odd[batch]).backward()
                optimizer.step()
    return {name: value for name, value in model.state_dict().items() if not name.startswith("8.")}
