"""Means place by place: over ranks and micro-batches they are those of all values together."""

import torch

from regrow.loop.activity import places

UNITS = (1, 0, -1, 1, 0)  # two units with two places each, and a place of another layer
LENGTHS = (5, 3)


def _seen(values: torch.Tensor) -> places.Placed:
    """One outlet of five places, and one that nothing passed."""
    return ((values.sum(0), len(values)), (None, 0))


def test_rows_of_ranks_add_up_to_the_whole() -> None:
    values = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = [places.row_of(_seen(part), LENGTHS) for part in (values[:2], values[2:])]
    rows.append(places.row_of((), LENGTHS))  # a rank that has seen nothing
    found = places.placed_of(torch.stack(rows).sum(0), LENGTHS, like=values)
    assert found[1] == (None, 0)
    order = places.by_unit(UNITS, 2)
    [mean, nothing] = places.means_of(found, [order, None])
    assert nothing is None
    assert mean is not None
    torch.testing.assert_close(mean, values.mean(0)[torch.tensor([[1, 4], [0, 3]])])


def test_micro_batches_add_up_to_the_whole() -> None:
    values = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    [(sums, given), nothing] = places.together([_seen(values[:3]), _seen(values[3:])])
    assert given == 7
    assert nothing == (None, 0)
    torch.testing.assert_close(sums, values.sum(0))


def test_units_with_different_numbers_of_places_have_no_order() -> None:
    assert places.by_unit((0, 0, 1), 2) is None
    assert places.by_unit((0, -1), 2) is None
