"""What a filter is worth on data, against plain loops in float64, and at the edges."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from regrow.functional import (
    accuracy_drop,
    fisher_diagonal,
    layer_scaled,
    mean_activation,
    taylor,
    zero_share,
)

ON_DATA: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_activation": mean_activation,
    "zero_share": zero_share,
    "taylor": lambda rows: taylor(rows.mT),
    "fisher_diagonal": lambda rows: fisher_diagonal(rows.mT),
    "layer_scaled": lambda rows: layer_scaled(rows[..., 0]),
}


def _rows(*shape: int) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return drawn.where(drawn > -0.5, 0.0)


def _loop(name: str, rows: list[list[float]]) -> list[float]:
    found = []
    length = sum(row[0] ** 2 for row in rows) ** 0.5
    for row in rows:
        if name == "zero_share":
            found.append(sum(value == 0 for value in row) / len(row))
        elif name == "fisher_diagonal":
            found.append(0.5 * sum(value**2 for value in row) / len(row))
        elif name == "layer_scaled":
            found.append(row[0] / length)
        else:
            found.append(sum(abs(value) for value in row) / len(row))
    return found


@pytest.mark.parametrize("name", ON_DATA)
class TestOnData:
    def test_against_the_loop(self, name: str) -> None:
        rows = _rows(6, 31)
        found = ON_DATA[name](rows.double())
        assert found.tolist() == pytest.approx(_loop(name, rows.double().tolist()), rel=1e-12)
        single = ON_DATA[name](rows)
        assert single.tolist() == pytest.approx(found.tolist(), rel=1e-6)

    def test_stacked_is_one_by_one(self, name: str) -> None:
        stack = _rows(2, 3, 4, 9)
        alone = torch.stack([torch.stack([ON_DATA[name](one) for one in row]) for row in stack])
        torch.testing.assert_close(ON_DATA[name](stack), alone)

    def test_half_precision_is_widened_and_inputs_stay(self, name: str) -> None:
        rows = (_rows(3, 8) * 300).to(torch.float16)
        before = rows.clone()
        found = ON_DATA[name](rows)
        assert found.isfinite().all()
        if name != "layer_scaled":
            assert found.dtype == torch.float32
        assert torch.equal(rows, before)


def test_zeros_are_counted_exactly() -> None:
    rows = torch.tensor([[0.0, -0.0, 1e-30, -1.0], [0.0, 0.0, 0.0, 0.0]])
    assert zero_share(rows).tolist() == [0.5, 1.0]


def test_a_layer_of_zeros_or_of_tiny_scores_is_scaled() -> None:
    assert layer_scaled(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert layer_scaled(torch.tensor([3e-30, 4e-30])).tolist() == pytest.approx([0.6, 0.8])


class TestAccuracyDrop:
    def test_against_the_formula(self) -> None:
        without = torch.tensor([0.4, 0.6, 0.5], dtype=torch.float64)
        rise = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
        whole = torch.tensor(0.5, dtype=torch.float64)
        expected = [0.1 + 1e-7 * 2 / 3, -0.1 - 1e-7 / 2, 0.0]
        assert accuracy_drop(whole, without, rise).tolist() == pytest.approx(expected, abs=1e-15)

    def test_the_loss_decides_between_equal_drops_and_never_against_one_example(self) -> None:
        examples = 1_000_000
        without = torch.tensor([0.5, 0.5, 0.5 - 1 / examples], dtype=torch.float64)
        rise = torch.tensor([torch.inf, -torch.inf, -torch.inf], dtype=torch.float64)
        drop = accuracy_drop(torch.tensor(0.5), without, rise)
        assert drop.argsort().tolist() == [1, 0, 2]
        assert drop.isfinite().all()
        assert accuracy_drop(torch.tensor(0.5), without, torch.full((3,), torch.nan))[0] == 0.0

    def test_any_leading_axes(self) -> None:
        whole, without, rise = torch.rand(2, 3), torch.rand(2, 3, 4), torch.randn(2, 3, 4)
        together = accuracy_drop(whole, without, rise)
        assert torch.equal(together[1, 2], accuracy_drop(whole[1, 2], without[1, 2], rise[1, 2]))
