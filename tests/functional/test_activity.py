"""Scores from activity, against plain loops in float64."""

import math

import pytest
import torch

from regrow.functional import relative_activity


def _by_hand(given: list[list[float]]) -> list[float]:
    """Equation 1 of the paper: rows are the activations of one unit."""
    sizes = [math.fsum(abs(value) for value in row) / len(row) for row in given]
    mean = math.fsum(sizes) / len(sizes)
    return [size / mean for size in sizes]


def test_relative_activity_is_the_papers_equation() -> None:
    given = torch.randn(7, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given = given.relu()
    given[3] = 0.0
    found = relative_activity(given.abs().mean(-1))
    assert found.tolist() == pytest.approx(_by_hand(given.tolist()), rel=1e-14)
    assert found[3] == 0.0
    assert float(found.mean()) == pytest.approx(1.0)


def test_a_unit_of_which_nothing_is_known_counts_in_no_mean() -> None:
    found = relative_activity(torch.tensor([1.0, math.nan, 3.0]))
    assert found[[0, 2]].tolist() == [0.5, 1.5]
    assert found[1].isnan()


def test_in_a_layer_of_zeros_nobody_is_less_than_the_rest() -> None:
    assert relative_activity(torch.zeros(2, 3)).tolist() == [[1.0] * 3] * 2
    assert relative_activity(torch.tensor([0.0, math.nan])).tolist()[0] == 1.0


def test_half_precision_is_divided_in_single() -> None:
    sizes = torch.tensor([6e4, 6e4, 0.0], dtype=torch.float16)
    assert relative_activity(sizes).tolist() == pytest.approx([1.5, 1.5, 0.0])


def test_infinite_sizes_do_not_make_the_others_small() -> None:
    assert relative_activity(torch.tensor([1.0, math.inf])).isnan().all()
