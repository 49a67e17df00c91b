"""Continual Backprop's utilities, against plain loops in float64."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from regrow.errors import ConfigError
from regrow.functional import debiased, input_sizes, unit_utility


def _rows(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_input_sizes_of_a_dense_layer_are_column_sums() -> None:
    weight = _rows(3, 5)
    by_hand = [math.fsum(abs(row[i]) for row in weight.tolist()) for i in range(5)]
    assert input_sizes(weight, kind="linear").tolist() == pytest.approx(by_hand, rel=1e-15)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["conv", "conv_transpose"])
def test_input_sizes_are_what_a_channel_of_ones_is_multiplied_with(kind: str, groups: int) -> None:
    """All weights made positive, a channel that is 1 at one place gives their sum, over all outputs and places."""
    shape = (6, 4 // groups, 3, 3) if kind == "conv" else (4, 6 // groups, 3, 3)
    weight = _rows(*shape)
    run = F.conv2d if kind == "conv" else F.conv_transpose2d
    sums: list[float] = []
    for channel in range(4):
        x = torch.zeros(1, 4, 7, 7, dtype=torch.float64)
        x[0, channel, 3, 3] = 1.0
        sums.append(float(run(x, weight.abs(), padding=2 * (kind == "conv"), groups=groups).sum()))
    found = input_sizes(weight, kind=kind, groups=groups)  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx(sums, rel=1e-12)


def test_contribution_is_equation_1() -> None:
    """Of one example: |h_i| times the sum over k of |w_ik|, averaged over examples."""
    given, weight = _rows(9, 4).relu(), _rows(3, 4)
    by_hand = [
        math.fsum(abs(given[n, i]) * sum(abs(weight[k, i]) for k in range(3)) for n in range(9)) / 9
        for i in range(4)
    ]
    outgoing = input_sizes(weight, kind="linear")
    found = unit_utility("contribution", outgoing=outgoing, size=given.abs().mean(0))
    assert found.tolist() == pytest.approx([float(each) for each in by_hand], rel=1e-12)


def test_the_other_utilities() -> None:
    one, two = torch.tensor([2.0, 4.0]), torch.tensor([0.0, 0.5])
    assert unit_utility("weight", outgoing=one, size=two).tolist() == [2.0, 4.0]
    assert unit_utility("adaptation", outgoing=one, size=one, incoming=two).tolist() == [0.0, 2.0]
    with pytest.raises(ConfigError, match="'adaptation' with incoming, got 'adaptation'"):
        unit_utility("adaptation", outgoing=one, size=two)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99, 0.9999])
def test_debiased_is_a_weighted_mean(decay: float) -> None:
    values = _rows(30, 3).tolist()
    average = [0.0] * 3
    for row in values:
        average = [decay * a + (1 - decay) * v for a, v in zip(average, row, strict=True)]
    weights = [decay ** (29 - step) for step in range(30)]
    expected = [
        math.fsum(w * row[i] for w, row in zip(weights, values, strict=True)) / math.fsum(weights)
        for i in range(3)
    ]
    ages = torch.full((3,), 30)
    found = debiased(torch.tensor(average, dtype=torch.float64), age=ages, decay=decay)
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_at_an_age_of_0_there_is_no_average() -> None:
    assert debiased(torch.zeros(1), age=torch.zeros(1, dtype=torch.int64), decay=0.9).isnan().all()
