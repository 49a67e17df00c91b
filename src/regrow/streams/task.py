"""What a kind of stream is made of: the data that it draws from, and the task that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from regrow.study.generator_keys import generator_key


class Source(Protocol):
    """A data set, as far as a stream draws from it; `regrow.lab.data.Dataset` is one."""

    @property
    def x_train(self) -> Tensor:
        """Images, (N, C, H, W)."""
        ...

    @property
    def y_train(self) -> Tensor:
        """Their classes, int64 (N,), 0 to K - 1."""
        ...

    @property
    def x_test(self) -> Tensor:
        """Test images, (M, C, H, W)."""
        ...

    @property
    def y_test(self) -> Tensor:
        """Their classes, (M,)."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """The K names."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One task."""

    images: Tensor  # what is trained on, (n, C, H, W)
    # Their classes, int64 (n,); the numbers to be learnt, float32 (n,), where the stream's loss is squared.
    labels: Tensor
    test_images: Tensor  # what is tested on when the task ends
    test_labels: Tensor  # their classes or numbers
    # How many of the network's outputs take part, the first: the others are of classes that have not arrived yet.
    # None: all.
    outputs: int | None = None


def dice(purpose: str, seed: int, index: int = 0) -> torch.Generator:
    """Random numbers of their own for each purpose, seed and task, whatever else is drawn."""
    return torch.Generator().manual_seed(generator_key(f"stream {purpose}", seed, index))


def drawn(source: Source, count: int | None, dice: torch.Generator) -> tuple[Tensor, Tensor]:
    """So many training images, without any twice, and their classes; all, in their order, where none are counted."""
    if count is None:
        return source.x_train, source.y_train
    every = len(source.x_train)
    rows = torch.randperm(every, generator=dice, device="cpu")[:count].to(source.x_train.device)
    return source.x_train[rows], source.y_train[rows]
