from __future__ import annotations

import pytest
import torch

from regrow.errors import ConfigError
from regrow.lab.data import Dataset
from regrow.lab.data.dataset import hold_out


def make(labels: list[int], classes: int) -> Dataset:
    y = torch.tensor(labels)
    x = torch.arange(float(len(labels))).reshape(-1, 1, 1, 1)
    return Dataset(
        name="d",
        x_train=x,
        y_train=y,
        x_test=x,
        y_test=y,
        classes=tuple("abcdef"[:classes]),
    )


def test_every_image_is_on_one_side_and_keeps_its_class() -> None:
    labels = [i % 3 for i in range(30)]
    rest = hold_out(make(labels, 3), 7)
    assert rest.held_out is not None
    images, classes = rest.held_out
    kept, gone = rest.x_train.flatten().tolist(), images.flatten().tolist()
    assert sorted(kept + gone) == list(range(30))
    assert [labels[int(i)] for i in kept] == rest.y_train.tolist()
    assert [labels[int(i)] for i in gone] == classes.tolist()


def test_classes_are_held_out_in_proportion() -> None:
    labels = [0] * 60 + [1] * 30 + [2] * 10
    aside = hold_out(make(labels, 3), 20).held_out
    assert aside is not None
    assert aside[1].bincount().tolist() == [12, 6, 2]


def test_the_choice_is_always_the_same_and_no_prefix() -> None:
    data = make([0] * 50, 1)
    aside, same = hold_out(data, 10).held_out, hold_out(data, 10).held_out
    assert aside is not None
    assert same is not None
    first, again = aside[0], same[0]
    assert torch.equal(first, again)
    assert first.flatten().tolist() != list(range(10))


def test_none_leaves_the_data_alone() -> None:
    data = make([0, 1, 0, 1], 2)
    assert hold_out(data, 0) is data
    assert data.held_out is None


def test_a_class_without_training_images_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"held_out: .* 4 of 4 leave none of class 'a'"):
        hold_out(make([0, 1, 0, 1], 2), 4)
