"""What was worked out of one tensor is used where it is met again, and for no other."""

import numpy
import pytest
import torch

from regrow.activity.pass_tensors import PassTensors

OVER = (0, 2, 3)


@pytest.mark.parametrize("what", ["ends_of_a_few", "sums"])
def test_another_tensor_in_the_place_of_one_that_is_gone(what: str) -> None:
    tensors, place = PassTensors(), numpy.empty((4, 3, 64, 64), dtype=numpy.float32)
    for number in range(1, 20):
        place.fill(number)
        x = torch.from_numpy(place)  # each time a storage of its own, at the same place
        found = getattr(tensors, what)(x.detach(), OVER)
        if what == "ends_of_a_few":
            assert found[0].tolist() == found[1].tolist() == [number] * 3
        else:
            assert (found[0][0] / (found[1] / 3)).tolist() == pytest.approx([number] * 3, rel=1e-5)
        assert x.data_ptr() == place.ctypes.data
        del x, found


def test_the_same_values_are_worked_out_once_until_they_are_written_to() -> None:
    tensors, x = PassTensors(), torch.full((4, 3, 16, 16), 2.0)
    first = tensors.ends_of_a_few(x.detach(), OVER)
    assert tensors.ends_of_a_few(x.detach(), OVER) is first
    assert tensors.ends_of_a_few(x[:2], OVER) is not first
    x.add_(1.0)
    assert tensors.ends_of_a_few(x, OVER)[0].tolist() == [3.0] * 3
