"""Edges of the overlap; its values are compared with the paper's loop in the contract suite."""

from typing import Any

import pytest
import torch

from regrow.functional import expected_overlap, filter_overlap


def test_a_filter_without_a_length_overlaps_with_all() -> None:
    weight = torch.eye(4)
    weight[3] = 0.0
    assert filter_overlap(weight).tolist() == [0.0, 0.0, 0.0, 0.75]
    assert filter_overlap(torch.zeros(2, 3)).tolist() == [0.5, 0.5]


def test_one_filter_alone_and_a_stack() -> None:
    assert filter_overlap(torch.ones(1, 3)).tolist() == [0.0]
    stack = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(filter_overlap(stack)[1, 2], filter_overlap(stack[1, 2]))


def test_correction_takes_out_what_chance_gives() -> None:
    for length in (9, 27, 288):
        weight = torch.randn(2000, length, generator=torch.Generator().manual_seed(length))
        corrected = filter_overlap(weight, corrected=True)
        assert abs(corrected.mean().item()) < 1e-3
    assert expected_overlap(1) == pytest.approx(1.0)
    assert expected_overlap(2) == pytest.approx(2 / torch.pi)
    with pytest.raises(ValueError, match="corrected=True needs normalise='row'"):
        filter_overlap(torch.ones(2, 2), normalise="matrix", corrected=True)


def test_signs_cancel_in_the_code_and_not_in_the_paper() -> None:
    weight = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])
    assert filter_overlap(weight, normalise="matrix")[0] == 0.0
    assert filter_overlap(weight)[0] == pytest.approx(2 / 2**0.5 / 3)


@pytest.mark.parametrize("settings", [{}, {"normalise": "matrix"}])
def test_filters_of_other_groups_have_no_entry_in_common(settings: dict[str, Any]) -> None:
    """The same numbers as of the ungrouped weight, with zeros where another group's inputs are."""
    weight = torch.randn(12, 10, dtype=torch.float64)
    whole = torch.zeros(12, 40, dtype=torch.float64)
    for f in range(12):
        whole[f, f // 3 * 10 : f // 3 * 10 + 10] = weight[f]
    found = filter_overlap(weight, groups=4, **settings)
    assert torch.allclose(found, filter_overlap(whole, **settings), atol=1e-15)
    stacked = filter_overlap(weight.expand(2, 12, 10), groups=4, **settings)
    assert torch.allclose(stacked, found.expand(2, 12), atol=1e-15)


def test_depthwise_filters_do_not_overlap_and_empty_ones_do() -> None:
    weight = torch.ones(5, 9)
    weight[3] = 0.0
    assert filter_overlap(weight, groups=5).tolist() == pytest.approx([0, 0, 0, 0.8, 0])


def test_the_correction_counts_the_own_group() -> None:
    weight = torch.randn(400, 32, generator=torch.Generator().manual_seed(0)).double()
    assert abs(float(filter_overlap(weight, groups=4, corrected=True).mean())) < 1e-3
