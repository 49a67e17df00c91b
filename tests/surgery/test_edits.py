"""Edits in place: the tensor stays the same object, the rest keeps its bits, autograd is told."""

import pytest
import torch
from torch import nn

from regrow.renewal import Edit
from regrow.surgery import apply_edits_


def test_only_masked_entries_change() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, -0.0], [float("nan"), 3.0]]))
    before, address = weight.detach().clone(), weight.data_ptr()
    edit = Edit(name="w", mask=torch.tensor([[False], [True]]), value=torch.full((2, 2), 9.0))
    apply_edits_({"w": weight}, [edit])
    assert weight.data_ptr() == address
    assert weight[1].tolist() == [9.0, 9.0]
    assert torch.equal(weight[0].detach().view(torch.int32), before[0].view(torch.int32))


def test_a_number_fills_and_types_follow_the_tensor() -> None:
    buffer = torch.ones(3, dtype=torch.bfloat16)
    apply_edits_({"b": buffer}, [Edit(name="b", mask=torch.tensor([True, False, True]), value=0.0)])
    assert buffer.tolist() == [0.0, 1.0, 0.0]
    assert buffer.dtype == torch.bfloat16


def test_an_edit_between_forward_and_backward_is_an_error() -> None:
    weight = nn.Parameter(torch.ones(2))
    loss = (weight * weight).sum()
    apply_edits_({"w": weight}, [Edit(name="w", mask=torch.tensor([True, False]), value=0.0)])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
