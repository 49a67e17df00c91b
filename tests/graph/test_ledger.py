from __future__ import annotations

import gc

import pytest
import torch

from regrow.graph.ledger import Ledger, ReinterpretedError


def test_views_share_their_notes() -> None:
    ledger = Ledger({})
    x = torch.zeros(2, 3, 4)
    assert ledger.names(x) is None
    ledger.write(x[:, 1], torch.tensor(5))
    assert ledger.names(x.permute(2, 0, 1)[3, 0]).tolist() == [0, 5, 0]
    ledger.write(x.view(-1)[:3], torch.tensor([1, 2, 3]))
    assert ledger.names(x)[0, 0].tolist() == [1, 2, 3, 0]
    ledger.write(x, None)
    assert not ledger.names(x).any()


def test_a_view_with_an_offset_of_a_foreign_tensor() -> None:
    ledger = Ledger({})
    x = torch.zeros(10)[3:7]
    ledger.write(x, torch.tensor([1, 2, 3, 4]))
    assert ledger.names(x[1:3]).tolist() == [2, 3]


def test_nothing_is_begun_for_empty_sets() -> None:
    ledger = Ledger({})
    x = torch.zeros(3)
    ledger.write(x, torch.zeros(3))
    assert ledger.find(x) is None


def test_memory_that_is_used_again_starts_without_notes() -> None:
    ledger = Ledger({})
    for _ in range(600):
        x = torch.zeros(64)
        assert ledger.names(x) is None
        ledger.write(x, torch.ones(64))
        del x
    gc.collect()
    assert len(ledger._notes) < 600


def test_other_types_of_number_are_refused_until_blurred() -> None:
    ledger = Ledger({})
    x = torch.zeros(4, dtype=torch.complex64)
    ledger.write(x, torch.arange(4))
    parts = torch.view_as_real(x)
    with pytest.raises(ReinterpretedError):
        ledger.names(parts)
    with pytest.raises(ReinterpretedError):
        ledger.names_for_writing(parts)
    ledger.blur(parts, 9)
    assert ledger.names(parts).tolist() == [[9, 9]] * 4
    assert ledger.names(x).tolist() == [9] * 4


def test_origins_say_which_entry_an_element_is() -> None:
    first, second = torch.zeros(2, 3), torch.zeros(4)
    ledger = Ledger({"first": first, "second": second})
    assert ledger.whole(first) == "first"
    assert ledger.whole(first.t()) is None
    assert ledger.origins(torch.zeros(1)) is None
    name, index = ledger.entries(second[1:3])
    assert (name, index.tolist()) == ("second", [1, 2])
    name, index = ledger.entries(first.t())
    assert (name, index.tolist()) == ("first", [[0, 3], [1, 4], [2, 5]])
    both = torch.zeros(2)
    ledger.write_origins(
        both, torch.stack([ledger.origins(first)[0, 0], ledger.origins(second)[0]])
    )
    assert ledger.entries(both) is None
    assert ledger.owners(both) == {"first", "second"}
    copied = torch.zeros(2, 3)
    ledger.write_copy(copied, first)
    assert ledger.whole(copied) == "first"


def test_owners_are_those_of_the_last_writing() -> None:
    tensors = {"a": torch.zeros(2, 2), "b": torch.zeros(2, 2)}
    ledger = Ledger(tensors)
    made = torch.zeros(2, 2)
    for name, origin in (("a", 0), ("b", 4)):
        ledger.write_origins(made, torch.arange(4).view(2, 2) + origin)
        assert ledger.owners(made) == {name}
    ledger.overwritten([made, tensors["a"]])
    assert ledger.owners(made) == frozenset()
    assert ledger.whole(tensors["a"]) == "a", "the model's own tensors stay themselves"
