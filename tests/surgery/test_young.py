"""Births in the tensor's own count."""

import pytest
import torch

from regrow.errors import StateError
from regrow.surgery.young import (
    ages,
    check_memory,
    grown_up,
    placed,
    places,
    with_births,
    young_part,
)

NOW = torch.tensor(10.0)


def test_a_second_birth_replaces_the_first() -> None:
    mask = torch.tensor([True, True, False])
    first = with_births(None, mask, now=NOW, newborn={"product": torch.ones(())}, horizon=None)
    older = {**first, "product": torch.tensor([0.5, 0.25, 1.0]), "waited": torch.tensor(9)}
    again = with_births(
        older,
        torch.tensor([True, False, False]),
        now=NOW + 5,
        newborn={"product": torch.ones(())},
        horizon=None,
    )
    assert again["born"].tolist() == [15, 10, -1]
    assert again["product"].tolist() == [1, 0.25, 1]
    assert (again["waited"].item(), again["seen"].item()) == (0, 15)


def test_ages_begin_at_one_and_end_at_the_horizon() -> None:
    memory = {"born": torch.tensor([-1.0, 4.0, 9.0, 10.0])}
    age, young = ages(memory, step=NOW, moved=torch.tensor(True), horizon=5)
    assert age.tolist() == [11, 6, 1, 1]
    assert young.tolist() == [False, False, True, True]
    _, young = ages(memory, step=NOW, moved=torch.tensor(True), horizon=None)
    assert young.tolist() == [False, True, True, True]


def test_growing_up_is_looked_at_now_and_then() -> None:
    memory = {"born": torch.tensor([-1.0, 4.0]), "waited": torch.tensor(5)}
    assert not grown_up(memory, now=NOW, horizon=None)
    assert not grown_up(memory, now=NOW, horizon=6)  # it has not waited as long
    assert grown_up(memory, now=NOW, horizon=5)
    assert not grown_up({**memory, "born": torch.tensor([6.0])}, now=NOW, horizon=5)
    assert not grown_up({**memory, "waited": torch.tensor(6)}, now=NOW, horizon=5)
    assert grown_up({**memory, "waited": torch.tensor(69)}, now=NOW, horizon=5)


def test_who_has_grown_up_is_dropped_at_the_next_birth() -> None:
    first = with_births(None, torch.tensor([True, False, False]), now=NOW, newborn={}, horizon=5)
    later = torch.tensor([False, True, False])
    for passed, wanted in ((4, [10, 14, -1]), (5, [-1, 15, -1])):
        assert (
            with_births(first, later, now=NOW + passed, newborn={}, horizon=5)["born"].tolist()
            == wanted
        )


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 3, 1), (4, 3, 1), (4, 1, 2), (1, 1, 1)])
def test_the_young_part_of_a_tensor_and_of_its_memory_fit(shape: tuple[int, ...]) -> None:
    born = torch.arange(float(torch.Size(shape).numel())).reshape(shape) - 1
    memory = {"born": born + (born.numel() == 1), "seen": NOW, "waited": NOW}
    at = places(memory)
    assert at is not None
    tensor = torch.arange(24).reshape(4, 3, 2)
    part, ages_of_part = tensor[at], young_part(memory, at)["born"]
    assert torch.equal(
        torch.sort((part * 100 + ages_of_part).flatten()).values,
        torch.sort((tensor * 100 + memory["born"])[(memory["born"] >= 0).expand(4, 3, 2)]).values,
    )
    assert places({"born": torch.full(shape, -1.0)}) is None


def test_placed_keeps_every_value() -> None:
    memory = with_births(None, torch.tensor([True]), now=NOW, newborn={}, horizon=None)
    assert placed(memory, torch.device("cpu")) == memory


@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 3), (4, 3)])
def test_memories_that_fit(shape: tuple[int, ...]) -> None:
    memory = {"born": torch.zeros(shape), "seen": NOW, "waited": NOW}
    check_memory("w", memory, shape=torch.Size((4, 3)))
    more = {**memory, "eta": torch.zeros(shape), "count": NOW}
    check_memory("w", more, shape=torch.Size((4, 3)), entries={"eta"}, counts={"count"})


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (1, 4, 3), (2, 3)])
def test_memories_that_do_not(shape: tuple[int, ...]) -> None:
    memory = {"born": torch.zeros(shape), "seen": NOW, "waited": NOW}
    with pytest.raises(StateError, match=r"'w' has born of shape .*the parameter is of \(4, 3\)"):
        check_memory("w", memory, shape=torch.Size((4, 3)))
