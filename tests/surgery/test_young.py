"""Births in the tensor's own count."""

from typing import Any

import pytest
import torch
from torch import Tensor

from regrow.errors import StateError
from regrow.surgery.saved_young import check_tensors, loaded_births, saved_births
from regrow.surgery.young import (
    Births,
    ages,
    by_part,
    oldest_of_all,
    places,
    since,
    still_young,
    with_births,
    without,
)

NOW = torch.tensor(10.0)
ROWS = torch.tensor([[True], [False], [True]])
COLUMNS = torch.tensor([[False, True]])


def _born(births: Births) -> list[list[float]]:
    return births.counts[births.numbers()].tolist()


def _one(*given: Any, **options: Any) -> Births:
    births = with_births(*given, **options)
    assert births is not None
    return births


def _births(*masks: Tensor, horizon: int | None = None) -> Births:
    """One after the other, at 3, 5, 7, ..."""
    births = None
    for index, mask in enumerate(masks):
        now = torch.tensor(3.0 + 2 * index)
        births = with_births(births, mask, now=now, newborn={}, horizon=horizon)
    assert births is not None
    return births


def test_a_second_birth_replaces_the_first() -> None:
    mask = torch.tensor([True, True, False])
    first = _one(None, mask, now=NOW, newborn={"product": torch.ones(())}, horizon=None)
    older = Births(
        counts=first.counts, parts=first.parts, kept={"product": torch.tensor([1.0, 0.25])}
    )
    again = _one(
        older,
        torch.tensor([True, False, False]),
        now=NOW + 5,
        newborn={"product": torch.ones(())},
        horizon=None,
    )
    assert again.counts[again.numbers()].tolist() == [15, 10, 0]
    assert again.kept["product"][again.numbers()].tolist() == [1, 0.25, 1]


def test_rows_and_columns_are_a_number_each() -> None:
    births = _births(ROWS, COLUMNS)
    assert {name: part.numel() for name, part in births.parts.items()} == {"rows": 3, "columns": 2}
    assert _born(births) == [[3, 5], [0, 5], [3, 5]]


@pytest.mark.parametrize("whole", [False, True])
def test_what_masks_say_entry_by_entry_is_kept_by_row_and_column_where_it_can(whole: bool) -> None:
    """As masks of the whole tensor; single entries are kept beside them."""
    both = ROWS | COLUMNS
    single = ROWS & COLUMNS
    births = _births(both, single) if whole else _births(both)
    wanted = torch.where(both, 3.0, 0.0)
    wanted = torch.where(single, 5.0, wanted) if whole else wanted
    assert _born(births) == wanted.tolist()
    assert set(births.parts) == {"rows", "columns", *(["entries"] if whole else [])}


def test_single_entries_stay_single() -> None:
    numbers = torch.tensor([[0, 2], [2, 0]])
    assert torch.equal(by_part(numbers)["entries"], numbers)


def test_who_was_born_at_one_count_was_born_together() -> None:
    births = None
    for mask in (ROWS, ~ROWS, COLUMNS):
        births = with_births(births, mask, now=NOW, newborn={}, horizon=None)
    assert births is not None
    assert births.counts.tolist() == [0, 10]
    assert oldest_of_all(births) == 1
    nobody = torch.zeros(3, 1, dtype=torch.bool)
    assert with_births(None, nobody, now=NOW, newborn={}, horizon=None) is None


def test_births_of_which_nothing_is_left_are_forgotten() -> None:
    """All columns after a row: the row's birth is not to be seen any more."""
    births = _births(ROWS, torch.ones(1, 2, dtype=torch.bool))
    assert births.counts.tolist() == [0, 5]
    assert _born(births) == [[5, 5]]
    again = _births(ROWS, ROWS)
    assert again.counts.tolist() == [0, 5]


def test_ages_begin_at_one_and_end_at_the_horizon() -> None:
    counts = torch.tensor([0.0, 4.0, 9.0, 10.0])
    age = ages(counts, step=NOW)
    assert age.tolist() == [10, 6, 1, 1]
    assert still_young(age, moved=True, horizon=5).tolist() == [False, False, True, True]
    assert still_young(age, moved=True, horizon=None).tolist() == [False, True, True, True]
    moved = torch.tensor(False)
    assert not still_young(age, moved=moved, horizon=None).any()


def test_who_has_grown_up_is_left_out() -> None:
    first = _one(None, torch.tensor([True, False, False]), now=NOW, newborn={}, horizon=5)
    later = torch.tensor([False, True, False])
    for passed, wanted in ((4, [10, 14, 0]), (5, [0, 15, 0])):
        births = _one(first, later, now=NOW + passed, newborn={}, horizon=5)
        assert births.counts[births.numbers()].tolist() == wanted
        assert len(births.counts) == len(set(wanted) | {0})
    assert without(first, older=NOW + 4, horizon=5) is not None
    assert without(first, older=NOW + 5, horizon=5) is None


def test_a_tensor_without_old_entries_counts_from_its_earliest_birth() -> None:
    births = _births(torch.ones(1, 2, dtype=torch.bool), ROWS)
    first = oldest_of_all(births)
    assert births.counts[first].item() == 3
    left = since(births, first)
    assert left is not None
    assert left.counts.tolist() == [0, 2]
    assert left.numbers().tolist() == [[1], [0], [1]]
    assert since(_births(torch.ones(1, 1, dtype=torch.bool)), 1) is None
    assert oldest_of_all(_births(ROWS, COLUMNS)) == 0


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 3, 1), (4, 3, 1), (4, 1, 2), (1, 1, 1)])
def test_the_young_part_of_a_tensor_and_its_births_fit(shape: tuple[int, ...]) -> None:
    count = torch.Size(shape).numel()
    numbers = torch.arange(count, dtype=torch.int32).reshape(shape) + (count == 1)
    births = Births(counts=torch.arange(float(count + 1)), parts=by_part(numbers))
    at, there = places(births)
    tensor = torch.arange(24).reshape(4, 3, 2)
    assert torch.equal(
        torch.sort((tensor[at] * 100 + there).flatten()).values,
        torch.sort((tensor * 100 + numbers)[(numbers > 0).expand(4, 3, 2)]).values,
    )


def _memory(births: Births) -> dict[str, Tensor]:
    return {**saved_births(births), "seen": NOW, "waited": torch.tensor(3)}


@pytest.mark.parametrize("masks", [[ROWS], [COLUMNS], [ROWS, COLUMNS], [ROWS, ROWS & COLUMNS]])
def test_saved_and_loaded_is_the_same(masks: list[Tensor]) -> None:
    births = _births(*masks)
    memory = _memory(births)
    check_tensors("w", memory, shape=torch.Size((3, 2)))
    again = loaded_births(memory, device=torch.device("cpu"), keys=())
    assert _born(again) == _born(births)
    assert set(again.parts) == set(births.parts)


@pytest.mark.parametrize(
    "born",
    [
        [[3.0], [-1.0], [5.0]],
        [[-1.0, 4.0]],
        [[3.0, 5.0], [-1.0, 5.0], [7.0, 7.0]],
        [[3.0, -1.0], [-1.0, 3.0], [-1.0, -1.0]],
        [[3.0, 3.0], [4.0, 3.0], [3.0, 3.0]],
    ],
)
def test_births_by_entry_of_an_older_saved_state(born: list[list[float]]) -> None:
    """Counts of updates, -1 where old; what the family keeps has their shape."""
    counts = torch.tensor(born)
    memory = {"born": counts, "product": counts / 8, "seen": NOW, "waited": torch.tensor(3)}
    check_tensors("w", memory, shape=torch.Size((3, 2)), entries={"product"})
    births = loaded_births(memory, device=torch.device("cpu"), keys=("product",))
    numbers = births.numbers().expand(3, 2)
    assert torch.equal(births.counts[numbers], counts.clamp(min=0).expand(3, 2))
    young = numbers > 0
    assert torch.equal(births.kept["product"][numbers][young], (counts / 8).expand(3, 2)[young])


@pytest.mark.parametrize("key", ["rows", "columns", "entries", "born"])
@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (1, 4, 3), (2, 3)])
def test_memories_that_do_not_fit(key: str, shape: tuple[int, ...]) -> None:
    numbers = torch.zeros(shape, dtype=torch.int32)
    memory = {key: numbers, "births": torch.zeros(2), "seen": NOW, "waited": NOW}
    with pytest.raises(StateError, match=rf"'w' has {key} of shape .*the parameter is of \(4, 3\)"):
        check_tensors("w", memory, shape=torch.Size((4, 3)))


def test_numbers_of_births_that_are_not_there() -> None:
    births = _births(ROWS)
    memory = {**_memory(births), "births": births.counts[:1]}
    with pytest.raises(StateError, match="'w' has rows that are no numbers of its 1 births"):
        check_tensors("w", memory, shape=torch.Size((3, 2)))
    with pytest.raises(StateError, match="'w' lacks rows, columns, entries: one of them"):
        check_tensors(
            "w",
            {"births": births.counts, "seen": NOW, "waited": NOW},
            shape=torch.Size((3, 2)),
        )
