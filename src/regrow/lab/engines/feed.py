"""What the networks of a stack are shown, batch by batch, each in its own order.

Called by `lab/engines/stack.py`. The images of a few steps are gathered and turned at once, to lie as the stack reads
them: what that takes is mostly to begin it, network by network and step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from regrow.engine import Stack
from regrow.lab.data.augment import crop_flip
from regrow.lab.member import Member

AHEAD: Final = 1 << 19
"""Bytes of a network's images that are gathered at once: so few that they are still near when they are read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A batch of each network."""

    labels: Tensor  # (N, B)
    shape: tuple[int, ...]  # of an image
    # (N, B, C, H, W); or, where they are `laid`, the stack's own memory, (N, pixels, B).
    images: Tensor
    laid: bool = False  # they lie in the stack already

    def of(self, network: int) -> Tensor:
        """The batch of one network, (B, C, H, W)."""
        own = self.images[network]
        # A copy: the stack's memory is written anew in the next step, and whoever asks may keep it.
        return own.t().contiguous().view(-1, *self.shape) if self.laid else own


@final
class Feed:
    """Shows networks their batches, by way of memory that it keeps: fresh memory of that size is mapped each time."""

    def __init__(self) -> None:
        self._memory: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def epoch(
        self, stack: Stack, members: Sequence[Member], epochs: Sequence[int]
    ) -> Iterator[Shown]:
        """The batches of an epoch of each network."""
        first, size = members[0], members[0].training.batch_size
        sources = [member.task(epoch).images for member, epoch in zip(members, epochs, strict=True)]
        shape = tuple(sources[0].shape[1:])
        if first.training.augment != "none" or stack.columns(size, shape) is None:
            for images, labels in batches(members, epochs):
                yield Shown(labels=labels, shape=shape, images=images)
            return
        order, labels = _ordered(members, epochs)
        pixels = [images.flatten(1) for images in sources]
        most = max(1, AHEAD // (size * pixels[0].shape[1] * pixels[0].element_size()))
        for rows, own in _several(order, labels, size=size, steps=first.steps_per_epoch, most=most):
            columns = stack.columns(rows.shape[2], shape)
            if columns is None:
                raise RuntimeError("a smaller batch must lie as a whole one does")
            turned = self._turned(pixels, rows)
            for step in range(rows.shape[1]):
                columns.copy_(turned[:, step])
                yield Shown(labels=own[:, step], shape=shape, images=columns, laid=True)

    def _turned(self, pixels: Sequence[Tensor], rows: Tensor) -> Tensor:
        """The images of some steps of each network, (N, S, pixels, B)."""
        networks, steps, samples = rows.shape
        wanted = networks, steps, samples, pixels[0].shape[1]
        if wanted not in self._memory:
            found = pixels[0].new_empty(wanted)
            self._memory[wanted] = found, found.new_empty(networks, steps, wanted[-1], samples)
        gathered, turned = self._memory[wanted]
        for place, there, own in zip(gathered.flatten(1, 2), pixels, rows.flatten(1), strict=True):
            torch.index_select(there, 0, own, out=place)
        return turned.copy_(gathered.mT)


def _several(
    order: Tensor, labels: Tensor, *, size: int, steps: int, most: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Places of images and labels of some steps at once, (N, S, B); a smaller last batch is alone."""
    whole = min(steps, order.shape[1] // size)
    for start in range(0, whole, most):
        there = slice(start * size, min(start + most, whole) * size)
        yield order[:, there].unflatten(1, (-1, size)), labels[:, there].unflatten(1, (-1, size))
    if whole < steps:
        rest = slice(whole * size, None)
        yield order[:, None, rest], labels[:, None, rest]


def batches(members: Sequence[Member], epochs: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (N, B, C, H, W) and labels (N, B) of all networks, each in its own order."""
    first = members[0]
    pairs = list(zip(members, epochs, strict=True))
    order, labels = _ordered(members, epochs)
    moves = [member.moves(epoch) for member, epoch in pairs]
    shown = [member.task(epoch).images for member, epoch in pairs]
    x, size = shown[0], first.training.batch_size
    both = zip(order.split(size, dim=1), labels.split(size, dim=1), strict=True)
    for step, (batch, own) in enumerate(both):
        if step == first.steps_per_epoch:
            return
        # Without a stream all have the same images, and one call takes those of all.
        if all(each is x for each in shown):
            images = x[batch]
        else:
            # Each network's images into their place: stacked afterwards, they would be copied twice.
            images = x.new_empty(len(shown), batch.shape[1], *x.shape[1:])
            for place, there, rows in zip(images, shown, batch, strict=True):
                torch.index_select(there, 0, rows, out=place)
        if first.training.augment == "crop-flip":
            images = torch.stack(
                [crop_flip(one, move) for one, move in zip(images, moves, strict=True)]
            )
        yield images, own


def _ordered(members: Sequence[Member], epochs: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Places of the images of an epoch in each network's order, and their labels, (N, images)."""
    device, pairs = members[0].device, list(zip(members, epochs, strict=True))
    order = torch.stack([member.order(epoch) for member, epoch in pairs]).to(device)
    own = zip(pairs, order, strict=True)
    return order, torch.stack([member.task(epoch).labels[rows] for (member, epoch), rows in own])
