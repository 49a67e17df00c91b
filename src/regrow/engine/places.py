"""How networks and pieces of a batch lie in memory, and in which portions work on them is done."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from regrow.engine.memory import ALIGNED

At: TypeAlias = tuple[int | slice, ...]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Sizes of the activations, (N, T, C, H, W, b): networks, tiles of the batch, ..., samples of a tile.

    One network's arithmetic must not depend on its neighbours, down to the last bit. On the CPU the layers therefore
    go from network to network, with the same calls whatever N is; this also keeps one network's numbers in the cache,
    and each product a plain matrix product. On other devices one call does all networks (`batched`).
    """

    networks: int  # N
    samples: int  # B, of the whole batch
    tile: int  # samples that a convolution should work on at once (`samples_of_tile`)
    batched: bool  # one call for all networks
    device: torch.device  # where the numbers are
    dtype: torch.dtype  # what they are

    @property
    def tiles(self) -> int:
        """T: the batch is cut into equal parts, as near to `tile` samples as its divisors allow; else it is one."""
        least, most = self.tile // 2, self.tile * 3 // 2
        if self.batched or self.samples <= most:
            return 1
        # Equal tiles only: the memory is (N, T, ..., b), in which a smaller last one has no place.
        sizes = [size for size in range(least, most + 1) if self.samples % size == 0]
        return self.samples // min(sizes, key=lambda size: abs(size - self.tile)) if sizes else 1

    @property
    def each(self) -> tuple[At, ...]:
        """An index for each portion of networks: each of them, or all."""
        if self.batched:
            return ((slice(None),),)
        return tuple((network,) for network in range(self.networks))

    @property
    def pieces(self) -> tuple[At, ...]:
        """An index for each portion of networks and tiles."""
        return tuple((*at, tile) for at in self.each for tile in range(self.tiles))

    def maps(self, *shape: int) -> Tensor:
        """Memory for activations, (N, T, *shape, b), zeros; the shape is that of one sample."""
        tile = self.samples // self.tiles
        return self.zeros(self.networks, self.tiles, *shape, tile)

    def zeros(self, networks: int, *shape: int) -> Tensor:
        """Zeros, (networks, *shape): each network's part begins at a multiple of 64 bytes, unless one call does all.

        Matrix products take another way, with other rounding, through memory that is not aligned: without this a
        network's bits would depend on its place among the others.
        """
        count = math.prod(shape)
        room = count if self.batched else -(-count // ALIGNED) * ALIGNED
        flat = torch.zeros(networks, room, device=self.device, dtype=self.dtype)
        return flat[:, :count].unflatten(1, shape)


def multiply_(
    out: Tensor, left: Tensor, right: Tensor, *, beta: float = 0.0, alpha: float = 1.0
) -> None:
    """To `out` goes beta * out + alpha * left @ right, (O, P) or (N, O, P); with beta 0 `out` is not read."""
    if out.dim() == 2:
        out.addmm_(left, right, beta=beta, alpha=alpha)
    else:
        out.baddbmm_(left, right, beta=beta, alpha=alpha)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Numbers from the host's memory where a device will find them, without waiting for it; the same for the CPU."""
    if device.type == "cpu":
        return values
    return values.pin_memory().to(device, non_blocking=True)
