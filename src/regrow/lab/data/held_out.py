"""Training images that a trial does not train on: what criteria and diagnostics measure networks with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from regrow.errors import ConfigError
from regrow.lab.data.dataset import Dataset
from regrow.lab.data.split import frozen_generator


def hold_out(data: Dataset, count: int) -> Dataset:
    """Set some training images aside, each class in proportion to its size.

    The choice is random, yet always the same: every seed and every arm has the same images aside.

    Returns:
        The data set with them aside; as it is where `count` is 0.

    Examples:
        >>> import torch
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
        >>> images = torch.arange(6.0).reshape(6, 1, 1, 1)
        >>> data = Dataset(name="six", x_train=images, y_train=labels, x_test=images, y_test=labels, classes=("a", "b"))
        >>> kept = hold_out(data, 3)
        >>> kept.y_train.tolist(), sorted(kept.held_out[1].tolist())
        ([0, 0, 1], [0, 0, 1])
    """
    import torch  # noqa: PLC0415 # a study file is checked before torch is loaded

    if not count:
        return data
    labels = data.y_train.numpy()
    order = frozen_generator(0).permutation(len(labels))
    turn = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = (np.arange(len(members)) + 0.5) / len(members)
    first = np.argsort(turn, kind="stable")
    aside, kept = np.sort(first[:count]), np.sort(first[count:])
    missing = [name for i, name in enumerate(data.classes) if i not in labels[kept]]
    if missing:
        raise ConfigError(
            f"train.held_out: must leave a training image of every class, {count} of {len(labels)} leave none of "
            f"class '{missing[0]}'"
        )
    parts = [
        (data.x_train[rows], data.y_train[rows]) for rows in map(torch.from_numpy, (kept, aside))
    ]
    return replace(data, x_train=parts[0][0], y_train=parts[0][1], held_out=parts[1])
