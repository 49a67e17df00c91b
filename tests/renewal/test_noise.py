"""The first scion of Filter Grafting: noise, less with every epoch."""

import math

import pytest
import torch
from torch import nn

from regrow.draw import Key
from regrow.draw.keys import normal_rows
from regrow.errors import ConfigError
from regrow.renewal import AddNoise, Redraw
from regrow.schedule import Clock
from renewal.layers import edits_of, layer_of


def _oracle(
    weight: list[list[float]], *, marked: set[int], decay: float, epoch: int, seed: int, step: int
) -> list[list[float]]:
    """As the paper has it: sigma_t = a^t, W + N(0, sigma_t), one number after the other."""
    sigma = 1.0
    for _ in range(epoch):
        sigma *= decay
    grafted = []
    for f, row in enumerate(weight):
        if f not in marked:
            grafted.append(row)
            continue
        key = Key(seed=seed, step=step, layer="0", purpose="scion")
        numbers = normal_rows(key, filters=torch.tensor([f]), count=len(row))[0].tolist()
        grafted.append([w + sigma * n for w, n in zip(row, numbers, strict=True)])
    return grafted


@pytest.mark.parametrize(("step", "epoch"), [(2, 0), (4, 1), (8, 1), (9, 2), (499, 100)])
def test_oracle_in_float64(step: int, epoch: int) -> None:
    net, layer = layer_of(nn.Conv2d(4, 6, 3, padding=1))
    net.double()
    with torch.no_grad():
        net[0].weight[3] = 0.0  # a filter of zeros gets noise as any other does
    noise = AddNoise(decay=0.9).bind(Clock(steps_per_epoch=5), where="test")
    (edit,) = edits_of(noise, net, layer, 1, 3, seed=7, step=step)
    weight = net[0].weight.detach()
    old = weight.flatten(1).tolist()
    expected = _oracle(old, marked={1, 3}, decay=0.9, epoch=epoch, seed=7, step=step)
    after = torch.where(edit.mask, torch.as_tensor(edit.value), weight).flatten(1)
    torch.testing.assert_close(
        after, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=1e-15
    )
    assert after[3].any()


def test_the_deviation_follows_the_whole_epochs_that_are_done() -> None:
    noise = AddNoise(decay=0.5, steps_per_epoch=10)
    assert [noise.deviation(step) for step in (8, 9, 18, 19)] == [1.0, 0.5, 0.5, 0.25]


def test_the_noise_is_normal_with_the_epochs_deviation() -> None:
    noise = AddNoise(decay=0.5, steps_per_epoch=2)
    given, where = noise.scions(
        torch.zeros(50, 400), torch.ones(50, dtype=torch.bool), key=Key(seed=0, step=5, layer="a")
    )
    assert where.all()
    assert float(given.mean()) == pytest.approx(0.0, abs=0.125 * 4 / math.sqrt(20000))
    assert float(given.std()) == pytest.approx(0.125, rel=0.03)  # three epochs are done
    within = float((given.abs() < 0.125).double().mean())
    assert within == pytest.approx(0.6827, abs=0.015)


def test_it_is_a_function_of_seed_step_and_filter() -> None:
    net, layer = layer_of(nn.Conv2d(4, 6, 3, padding=1))
    noise = AddNoise(decay=1.0, steps_per_epoch=5)

    def given(*marked: int, **key: int) -> torch.Tensor:
        (edit,) = edits_of(noise, net, layer, *marked, **key)
        return torch.as_tensor(edit.value) - net[0].weight.detach()

    assert torch.equal(given(1), given(1))
    assert torch.equal(given(1)[1], given(0, 1, 5)[1])  # whoever else is marked
    assert not torch.equal(given(1), given(1, seed=1))
    assert not torch.equal(given(1), given(1, step=10))
    assert not torch.allclose(given(0, 1)[0], given(0, 1)[1])


def test_weights_in_half_precision_stay_so() -> None:
    net, layer = layer_of(nn.Conv2d(4, 6, 3, padding=1))
    half = net.to(torch.bfloat16)
    (edit,) = edits_of(AddNoise(steps_per_epoch=5), half, layer, 2)
    assert torch.as_tensor(edit.value).dtype == torch.bfloat16


def test_the_length_of_an_epoch_is_asked_for_once() -> None:
    clock = Clock(steps_per_epoch=7, total_steps=70)
    assert AddNoise().bind(clock, where="test") == AddNoise(steps_per_epoch=7)
    assert AddNoise(steps_per_epoch=3).bind(clock, where="test").steps_per_epoch == 3
    with pytest.raises(
        ConfigError,
        match=r"decay=0.9 .* needs attach\(steps_per_epoch=\.\.\.\) \(recipe 'mine'\)",
    ):
        AddNoise(decay=0.9).bind(Clock(total_steps=70), where="recipe 'mine'")
    net, layer = layer_of(nn.Conv2d(4, 6, 3, padding=1))
    with pytest.raises(ConfigError, match="call bind first"):
        edits_of(AddNoise(), net, layer, 1)
    redraw = Redraw()
    assert redraw.bind(Clock(), where="test") is redraw


@pytest.mark.parametrize(
    ("decay", "message"),
    [
        (0.0, "decay must be above 0, got 0.0"),
        (-0.5, "decay must be above 0, got -0.5"),
        (1.01, r"decay must be within \[0, 1\], got 1.01"),
        (math.nan, "decay must be above 0, got nan"),
        ("0.9", "decay must be above 0, got '0.9'"),
    ],
)
def test_a_decay_that_is_none(decay: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AddNoise(decay=decay)
