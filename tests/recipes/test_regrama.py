"""ReGraMa: whose gradient is next to nothing; each public bug has its test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from recipes.small import EXAMPLE, dense, is_plain_training, kill, renewed, steps, train
from regrow.functional import relative_gradient
from traced import attach_traced

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]
Cnn = Callable[[int], nn.Module]


def test_the_score_is_the_released_codes_in_float64() -> None:
    grad = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    means = [sum(abs(value) for value in row) / 7 for row in grad.tolist()]
    expected = [each / (sum(means) / 5) for each in means]
    assert relative_gradient(grad).tolist() == pytest.approx(expected, rel=1e-14)
    assert relative_gradient(1e-3 * grad).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_papers_gradient_does_not_see_a_dead_relu_and_the_weights_does(
    batches: Batches,
) -> None:
    """The derivative by what the unit gives is as large as anybody's."""
    model = dense()
    kill(model[1], 2)
    images, labels = batches(1)[0]
    given = model[:3](images)
    given.retain_grad()
    F.cross_entropy(model[3:](given), labels).backward()
    assert given.grad is not None
    of_outputs = given.grad.abs().mean(0)
    assert of_outputs[2] > 0.1 * of_outputs.mean()
    of_weights = relative_gradient(model[1].weight.grad)
    assert of_weights[2] == 0.0
    assert of_weights.argmin() == 2


@pytest.mark.parametrize("as_published", [False, True])
def test_a_dead_relu_unit_is_found_and_lives_again(as_published: bool, batches: Batches) -> None:
    model = dense()
    kill(model[1], 2)
    recipe = regrow.ReGraMa(threshold=0.0, every_steps=4, as_published=as_published)
    before = model[3].weight[:, 2].detach().clone()
    found = train(model, batches(4), recipe, include=["1"], lr=1e-30)
    assert renewed(found) == {"1": [2]}
    with torch.no_grad():
        assert (model[:3](batches(4)[-1][0])[:, 2] > 0).any()
        assert torch.equal(model[3].weight[:, 2], before) == as_published
        assert bool(model[3].weight[:, 2].any()) == as_published


def test_never_the_head(small_cnn: Cnn, batches: Batches) -> None:
    """The released code renews units of the output layer too."""
    found = train(small_cnn(0), batches(1), regrow.ReGraMa(threshold=1e9, every_steps=1))
    assert set(found.report.layers) == {"0", "3"}
    assert {layer: len(units) for layer, units in renewed(found).items()} == {"0": 3, "3": 5}


def test_a_layer_without_a_gradient_is_not_drawn_anew(batches: Batches) -> None:
    """Behind a head that begins at 0 nothing comes back: with 1e-9 added to the mean all would go."""
    model = dense()
    with torch.no_grad():
        model[5].weight.zero_()
    found = train(model, batches(1), regrow.ReGraMa(threshold=0.5, every_steps=1))
    assert renewed(found) == {}


def test_zeroed_readers_do_not_renew_for_ever(batches: Batches) -> None:
    """Its own gradient is next to nothing until its readers have grown; looked at in every step it goes round."""
    few, many = (
        Counter(
            (layer, unit)
            for layer, units in renewed(
                train(
                    dense(),
                    batches(40) * 5,
                    regrow.ReGraMa(every_steps=1, grace_steps=grace, threshold=0.1),
                )
            ).items()
            for unit in units
        )
        for grace in (40, 1)
    )
    assert max(few.values(), default=0) <= 5
    assert max(many.values()) > 5  # so it would be without


def test_the_cap_of_the_hybrid_mode(batches: Batches) -> None:
    recipe = regrow.ReGraMa(threshold=1e9, every_steps=1, most_of_layer=0.25)
    found = train(dense(), batches(1), recipe)
    assert {layer: len(units) for layer, units in renewed(found).items()} == {"1": 2, "3": 2}


def test_a_negative_threshold_is_plain_training_bit_for_bit(batches: Batches) -> None:
    assert is_plain_training(regrow.ReGraMa(threshold=-1.0, every_steps=2), batches(8))


def test_optimizer_state_by_place_and_not_by_number(batches: Batches) -> None:
    """The released code finds a layer's parameters at 2 i in the first group: a norm in between shifts them all."""
    model = nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU()),
        *(nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    recipe = regrow.ReGraMa(threshold=1e9, every_steps=4, most_of_layer=0.25)
    found = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    steps(model, optimizer, batches(4))
    units = renewed(found)
    for layer, reader in (("1", 4), ("4", 6)):
        own = optimizer.state[model.get_parameter(f"{layer}.weight")]
        read = optimizer.state[model[reader].weight]  # type: ignore[index]
        kept = [unit for unit in range(8) if unit not in units[layer]]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert not own[moment][units[layer]].any()
            assert not read[moment][:, units[layer]].any()
            assert own[moment][kept].any(1).any()
        assert own["step"] == 4  # the neighbours' count
