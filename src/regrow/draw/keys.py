"""Who asks for random numbers, and the numbers that this key gives."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regrow.draw.philox import philox4x32

_WORD = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Key:
    """The full name of a stream of random numbers.

    Two keys that differ in any field give unrelated numbers; equal keys give equal numbers, on any
    device, in any process, after any interruption. Seed, layer and purpose are hashed to Philox's
    64-bit key; the step, the filter and the position within the filter are its 128-bit counter, so
    no field is cut to fewer bits than it has.

    Attributes:
        seed: Any integer.
        step: Optimizer step, 0-based.
        layer: Module path of the layer whose filters are drawn.
        purpose: What the numbers are for, so that one layer can ask twice at one step.
    """

    seed: int
    step: int
    layer: str
    purpose: str = "weight"

    def words(self) -> tuple[int, int]:
        """Philox's key: two 32-bit words."""
        # With a character between them that no path has: seed 1 and layer "2.conv" are not seed 12 and layer ".conv".
        name = "\x1f".join((str(self.seed), self.layer, self.purpose))
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _bits(key: Key, filters: Tensor, count: int) -> Tensor:
    """`count` 32-bit words for each of `filters`, int64 (len(filters), count)."""
    blocks = math.ceil(count / 4)
    counter = torch.zeros(len(filters), blocks, 4, dtype=torch.int64, device="cpu")
    counter[..., 0] = torch.arange(blocks, device="cpu")
    # The filter is a part of the counter and not a place in one long row: what it gets does not depend on who else is
    # drawn.
    counter[..., 1] = filters.to("cpu", torch.int64)[:, None]
    # Two words: training may go on for more than 2^32 steps and never meets a number again.
    counter[..., 2] = key.step & _WORD
    counter[..., 3] = (key.step >> 32) & _WORD
    return philox4x32(counter, key.words()).flatten(-2)[:, :count]


def uniform_rows(key: Key, *, filters: Tensor, count: int) -> Tensor:
    """Uniform numbers in (0, 1), a row for each filter.

    A filter's row does not depend on which other filters are asked for.

    Args:
        key: Who asks.
        filters: Indices of the filters, int64 (R,).
        count: Numbers for each filter.

    Returns:
        float64 on the CPU, (R, count), strictly between 0 and 1.

    Examples:
        >>> key = Key(seed=0, step=3, layer="conv1")
        >>> both = uniform_rows(key, filters=torch.tensor([1, 5]), count=2)
        >>> bool((both[1] == uniform_rows(key, filters=torch.tensor([5]), count=2)[0]).all())
        True
    """
    # Half a step up keeps both ends out, so that logarithms and inverse distribution functions stay finite.
    return (_bits(key, filters, count).to(torch.float64) + 0.5) / 2.0**32


def normal_rows(key: Key, *, filters: Tensor, count: int) -> Tensor:
    """Standard normal numbers, a row for each filter.

    Args:
        key: Who asks.
        filters: Indices of the filters, int64 (R,).
        count: Numbers for each filter.

    Returns:
        float64 on the CPU, (R, count).

    Source:
        Inverse of the normal distribution function, x = sqrt(2) * erfinv(2 u - 1).
    """
    return math.sqrt(2.0) * torch.erfinv(
        2.0 * uniform_rows(key, filters=filters, count=count) - 1.0
    )
