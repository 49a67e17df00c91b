from __future__ import annotations

from typing import Any

import pytest

from regrow.errors import ConfigError
from regrow.study.document import Training, check_document, check_training

SMALL: dict[str, Any] = {
    "name": "s",
    "data": {"name": "digits"},
    "arms": {"none": {"recipe": "none"}},
}


def test_a_study_of_a_data_set_and_one_arm_has_defaults() -> None:
    study = check_document(SMALL, where="x")
    assert study.seeds == tuple(range(16))
    assert study.train == Training()
    assert study.data.name == "digits"


def test_a_number_of_seeds_counts_from_the_first() -> None:
    assert check_document({**SMALL, "seeds": 3, "first_seed": 7}, where="x").seeds == (7, 8, 9)
    assert check_document({**SMALL, "seeds": [9, 2]}, where="x").seeds == (9, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {}}, "x: arms: must hold at least one entry"),
        ({"seeds": "4"}, "x: seeds: must be a number or a list of numbers, got '4'"),
        ({"seeds": [1.5]}, "x: seeds.0: must be a whole number, got 1.5"),
        ({"train": 3}, "x: train: must be a table, got 3"),
        ({"diagnostics": {"overlap": 1}}, "x: diagnostics.overlap: must be true or false, got 1"),
        (
            {"diagnostics": {"overlaps": True}},
            "x: diagnostics: unknown key 'overlaps' (did you mean 'overlap'?)",
        ),
        ({"data": {"name": 3}}, "x: data.name: must be a text, got 3"),
        ({"data": {}}, "x: data.name: is missing"),
        (
            {"data": {"name": "digits", "settings": {"a": []}}},
            "x: data.settings: a must be a text, a number",
        ),
        (
            {"first_seed": True},
            "x: first_seed: must be a whole number from 0 to 2147483647, got True",
        ),
    ],
)
def test_shapes_of_the_document_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_document({**SMALL, **change}, where="x")
    assert str(caught.value).startswith(message)


def test_a_study_cannot_be_changed_by_accident() -> None:
    study = check_document(SMALL, where="x")
    with pytest.raises(ValueError, match="frozen"):
        study.name = "other"


def test_an_arms_training_is_checked_at_its_own_place() -> None:
    with pytest.raises(ConfigError, match=r"^x: arms\.a\.train\.lr: must be above 0, got -1$"):
        check_training({"lr": -1}, where="x", path="arms.a.train")
