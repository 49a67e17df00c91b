"""Edges of the overlap; its values are compared with the paper's loop in the contract suite."""

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
