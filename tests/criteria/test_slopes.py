"""GraMa's three definitions and the cost of an exchange, against autograd in float64; who sees a dead ReLU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from recipes.small import dense, kill, renewed, train
from regrow.criteria import (
    Criterion,
    GradientSize,
    OutputGradient,
    RelativeGradient,
    Taylor,
)
from regrow.loop.measure.probe import Probe
from regrow.schedule import Every
from regrow.selection import UpTo

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]


def convolution(*, inplace: bool = False) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=inplace)),
            *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)),
        ).eval()


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(9, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.arange(9) % 3


def measured(criterion: Any, model: nn.Module, layer: str) -> Tensor:
    images, labels = data()
    wiring = regrow.trace(model, images[:2])
    probe = Probe(
        model, [wiring[layer]], images, targets=labels, signals=criterion.needs, wiring=wiring
    )
    found = criterion.scores_of(probe.observe()[layer])
    assert found is not None
    return found


def slopes(model: nn.Sequential, at: int) -> tuple[Tensor, Tensor]:
    """What a part of the network gives, and each example's derivative by it: (N, O, ...) both."""
    images, labels = data()
    given = model[:at](images).detach().requires_grad_()
    total = F.cross_entropy(model[at:](given.clone()), labels, reduction="sum")
    (found,) = torch.autograd.grad(total, given)
    return given.detach(), found


def by_hand(grad: Tensor) -> list[float]:
    """Equation 2 of the paper."""
    sizes = [each.abs().mean() for each in grad.flatten(2 if grad.ndim > 2 else 1).unbind(1)]
    mean = sum(sizes) / len(sizes)
    return [float(each / mean) for each in sizes]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(("where", "at"), [("preactivation", 1), ("activation", 5)])
def test_of_a_convolution(where: Any, at: int, inplace: bool) -> None:
    """In front of norm and ReLU, also one that writes in place; or where the dense layer hears it."""
    model = convolution(inplace=inplace).double()
    _, grad = slopes(convolution().double(), at)
    found = measured(OutputGradient(where=where), model, "0")
    assert found.tolist() == pytest.approx(by_hand(grad.reshape(9, 4, -1)), rel=1e-12)


@pytest.mark.parametrize(("where", "at"), [("preactivation", 2), ("activation", 3)])
def test_of_a_dense_layer(where: Any, at: int) -> None:
    model = dense().double()
    _, grad = slopes(model, at)
    found = measured(OutputGradient(where=where), model, "1")
    assert found.tolist() == pytest.approx(by_hand(grad), rel=1e-12)


def test_two_readers_ask_together() -> None:
    """One tensor that two layers take: the derivative by it is that of both, which may cancel."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.a, self.b = nn.Linear(64, 5), nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x.flatten(1)).relu()
            return self.a(x) - self.b(x)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Two().double()
    images, labels = data()
    given = model.first(images.flatten(1)).relu().detach().requires_grad_()
    total = F.cross_entropy(model.a(given) - model.b(given), labels, reduction="sum")
    (grad,) = torch.autograd.grad(total, given)
    found = measured(OutputGradient(where="activation"), model, "first")
    assert found.tolist() == pytest.approx(by_hand(grad), rel=1e-12)


def test_nothing_is_left_behind() -> None:
    model = dense().double()
    measured(OutputGradient(), model, "1")
    assert all(each.grad is None for each in model.parameters())


@pytest.mark.parametrize(
    ("criterion", "sees"),
    [
        (GradientSize(), True),
        (RelativeGradient(), True),
        (OutputGradient(where="preactivation"), True),
        (OutputGradient(where="activation"), False),  # its readers ask for what it cannot give
    ],
    ids=str,
)
def test_who_sees_a_dead_relu(criterion: Criterion, sees: bool, batches: Batches) -> None:
    model = dense()
    kill(model[1], 2)
    recipe = regrow.ReGraMa(threshold=0.0, every_steps=2).with_parts(
        criterion=criterion, select=UpTo(threshold=0.0), when=Every(steps=2)
    )
    images, labels = batches(1)[0]
    found = train(
        *(model, batches(2), recipe),
        lr=1e-30,
        include=["1"],
        calibration_inputs=images,
        calibration_targets=labels,
    )
    assert renewed(found) == ({"1": [2]} if sees else {})


def test_an_exchange_costs_the_slope_by_the_distance_from_the_mean() -> None:
    """GXD: per example the sum over positions of (h - r) dL/dh, r the channel's mean; sizes are averaged."""
    model = convolution().double()
    given, grad = slopes(model, 4)
    mean = given.mean((0, 2, 3), keepdim=True)
    expected = ((given - mean) * grad).sum((2, 3)).abs().mean(0)
    # The dense layer hears 36 numbers, nine of each channel, and each of them is exchanged for its own mean.
    flat, slope = given.flatten(1), grad.flatten(1)
    by_place = ((flat - flat.mean(0)) * slope).reshape(9, 4, 9).sum(2).abs().mean(0)
    found = measured(Taylor(reference="mean"), model, "0")
    assert found.tolist() == pytest.approx(by_place.tolist(), rel=1e-12)
    assert found.tolist() != pytest.approx(expected.tolist(), rel=1e-3)
    plain = measured(Taylor(), model, "0")
    assert plain.tolist() == pytest.approx(
        (given * grad).sum((2, 3)).abs().mean(0).tolist(), rel=1e-12
    )


def test_to_exchange_a_unit_that_gives_one_value_costs_nothing() -> None:
    model = dense().double()
    with torch.no_grad():
        model[1].weight[3], model[1].bias[3] = 0.0, 30.0
    exchanged, silenced = (
        measured(Taylor(reference=word), model, "1")  # type: ignore[arg-type]
        for word in ("mean", "zero")
    )
    assert exchanged[3] == pytest.approx(0.0, abs=1e-12)
    assert silenced[3] > 10 * exchanged.amax()
