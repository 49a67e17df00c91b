"""What was worked out of one tensor is used where it is met again, and for no other."""

import pytest
import torch

from regrow.activity.pass_tensors import PassTensors

OVER = (0, 2, 3)


def _filled(value: float) -> torch.Tensor:
    """Large enough that its memory goes straight back, and to the next who asks."""
    return torch.full((4, 3, 256, 256), value)


@pytest.mark.parametrize("what", ["ends_of_a_few", "sums"])
def test_another_tensor_in_the_place_of_one_that_is_gone(what: str) -> None:
    tensors, places = PassTensors(), set[int]()
    again = 0
    for number in range(1, 20):
        x = _filled(float(number))
        again += x.data_ptr() in places
        places.add(x.data_ptr())
        found = getattr(tensors, what)(x.detach(), OVER)
        if what == "ends_of_a_few":
            assert found[0].tolist() == found[1].tolist() == [number] * 3
        else:
            assert (found[0][0] / (found[1] / 3)).tolist() == pytest.approx([number] * 3, rel=1e-5)
        del x, found
    assert again, "no place was used twice: nothing was tested"


def test_the_same_values_are_worked_out_once_until_they_are_written_to() -> None:
    tensors, x = PassTensors(), _filled(2.0)
    first = tensors.ends_of_a_few(x.detach(), OVER)
    assert tensors.ends_of_a_few(x.detach(), OVER) is first
    assert tensors.ends_of_a_few(x[:2], OVER) is not first
    x.add_(1.0)
    assert tensors.ends_of_a_few(x, OVER)[0].tolist() == [3.0] * 3
