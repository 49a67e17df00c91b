"""Random numbers by key: who asks, the counter-based generator Philox-4x32-10, numbers, and the weights made of them.

Called by the renewals with a `Key` a layer: `draw_rows` for the filters that are renewed, `draw_filters` for others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regrow.draw.initialisers import Initialiser
from regrow.errors import ConfigError, ShapeError

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
# The fractions of the golden ratio and of the root of 3, as the paper has them: saved runs hold their results to these.
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


@dataclass(frozen=True, kw_only=True)
class Key:
    """The full name of a stream of random numbers.

    Two keys that differ in any field give unrelated numbers; equal keys give equal numbers, on any
    device, in any process, after any interruption. Seed, layer and purpose are hashed to Philox's
    64-bit key; the step, the filter and the position within the filter are its 128-bit counter, so
    no field is cut to fewer bits than it has.
    """

    seed: int  # any integer
    step: int  # optimizer step, 0-based
    layer: str  # module path of the layer whose filters are drawn
    purpose: str = "weight"  # what the numbers are for, so that one layer can ask twice at one step

    def words(self) -> tuple[int, int]:
        """Philox's key: two 32-bit words."""
        # With a character between them that no path has: seed 1 and layer "2.conv" are not seed 12 and layer ".conv".
        name = "\x1f".join((str(self.seed), self.layer, self.purpose))
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox4x32(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Four random 32-bit words for every counter.

    The words are a pure function of counter and key: there is no state to save, to restore or to
    keep in step between processes, which is what lets an interrupted run resume bit for bit.

    Args:
        counter: Four 32-bit words a block, held in int64, (..., 4). Read, never written.
        key: Two 32-bit words.

    Returns:
        Words between 0 and 2**32 - 1, int64 (..., 4).

    Source:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, Section
        3.3 (ten rounds).

    Examples:
        >>> words = philox4x32(torch.zeros(4, dtype=torch.int64), (0, 0))
        >>> [f"{int(w):08x}" for w in words]
        ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = counter.unbind(-1)
    k0, k1 = key
    for _ in range(_ROUNDS):
        # A product of two 32-bit words may exceed a signed 64-bit number; it then wraps around, which leaves its 64
        # bits as they should be. The shift copies the sign downwards, and the mask removes those copies.
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0 = ((second >> 32) & _WORD) ^ c1 ^ k0
        c2 = ((first >> 32) & _WORD) ^ c3 ^ k1
        c1, c3 = second & _WORD, first & _WORD
        k0 = (k0 + _KEY_STEPS[0]) & _WORD
        k1 = (k1 + _KEY_STEPS[1]) & _WORD
    return torch.stack((c0, c1, c2, c3), dim=-1)


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
    """Standard normal numbers from those of `uniform_rows`, x = sqrt(2) erfinv(2 u - 1), float64 (R, count)."""
    return math.sqrt(2.0) * torch.erfinv(
        2.0 * uniform_rows(key, filters=filters, count=count) - 1.0
    )


def _truncated(key: Key, *, filters: Tensor, count: int, std: float, bound: float) -> Tensor:
    """Normal numbers within -bound and bound (in absolute terms, as torch.nn.init), by the inverse distribution."""
    low = 0.5 * (1.0 + math.erf(-bound / std / math.sqrt(2.0)))
    share = low + uniform_rows(key, filters=filters, count=count) * (1.0 - 2.0 * low)
    # Rounding may put the last numbers just beyond the bound.
    return (std * math.sqrt(2.0) * torch.erfinv(2.0 * share - 1.0)).clamp(-bound, bound)


def _orthogonal(key: Key, *, shape: Sequence[int], gain: float) -> Tensor:
    """A whole layer with orthonormal rows (or columns, where there are more rows), as torch.nn.init.orthogonal_."""
    rows, columns = shape[0], math.prod(shape[1:])
    flat = normal_rows(key, filters=torch.arange(rows, device="cpu"), count=columns)
    q, r = torch.linalg.qr(flat.T if rows < columns else flat)
    # QR is free to choose signs: with those of R it is the same matrix whichever library computes it.
    q = q * r.diagonal().sign()
    return gain * (q.T if rows < columns else q)


def _custom(key: Key, *, weight: Tensor, fill: Callable[[Tensor], object]) -> Tensor:
    """A whole layer from the user's function, with torch's own generator seeded by the key and then put back."""
    # Filled with nan, so that what the function leaves out is seen below. Of `empty` it would be old numbers, which
    # differ from run to run.
    scratch = torch.full(weight.shape, math.nan, dtype=weight.dtype, device="cpu")
    name = repr((key.seed, key.step, key.layer, key.purpose)).encode()
    seed = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        filled = fill(scratch)
    result = filled if isinstance(filled, Tensor) else scratch
    if result.shape != weight.shape:
        raise ShapeError(
            f"the init function must fill a tensor of shape {tuple(weight.shape)}, "
            f"it returned {tuple(result.shape)} ({key.layer})"
        )
    if not bool(result.isfinite().all()):
        raise ConfigError(
            f"the init function must fill the whole tensor that it is given, in place, with finite "
            f"numbers, or return such a tensor ({key.layer})"
        )
    return result


def draw_filters(
    initialiser: Initialiser,
    *,
    key: Key,
    weight: Tensor,
    filters: Tensor,
    to_rows: Callable[[Tensor], Tensor] = lambda weight: weight.flatten(1),
) -> Tensor:
    """Fresh values for some filters of a layer, one row each.

    Drawn on the CPU in float64 and rounded to the weight's dtype, so that every device gets the same bits.

    Args:
        initialiser: What `resolve_initialiser` gave for this layer.
        key: Seed, step and layer.
        weight: The weight that the values are for; gives shape, dtype and device. Not written.
        filters: Indices of the filters, int64 (R,).
        to_rows: How the layer's weight becomes one row a filter, (O, F); by default its first axis
            numbers the filters.

    Returns:
        (R, F), in `weight`'s dtype, on its device.

    Raises:
        ConfigError: A custom initialiser came without its function.

    Edge cases:
        A user's function and ``orthogonal`` draw the whole layer and the rows are taken from it, so
        that rows drawn together fit together. torch's own generator, which a user's function draws
        from, takes 32 bits of the hashed key.
    """
    wanted = filters.to("cpu", torch.int64)
    rows, count = to_rows(weight).shape
    if initialiser.distribution == "uniform":
        values = initialiser.scale * (2.0 * uniform_rows(key, filters=wanted, count=count) - 1.0)
    elif initialiser.distribution == "normal":
        values = initialiser.scale * normal_rows(key, filters=wanted, count=count)
    elif initialiser.distribution == "trunc_normal":
        values = _truncated(
            key, filters=wanted, count=count, std=initialiser.scale, bound=initialiser.bound
        )
    elif initialiser.distribution == "orthogonal":
        values = _orthogonal(key, shape=(rows, count), gain=initialiser.scale)[wanted]
    else:
        if initialiser.fill is None:
            raise ConfigError(f"a custom initialiser needs its function ({key.layer})")
        values = to_rows(_custom(key, weight=weight, fill=initialiser.fill))[wanted]
    return values.to(device=weight.device, dtype=weight.dtype)


def draw_rows(
    initialiser: Initialiser,
    *,
    key: Key,
    weight: Tensor,
    mask: Tensor,
    to_rows: Callable[[Tensor], Tensor],
) -> Tensor:
    """A layer, (O, F), of which the filters that `mask`, (O,), marks are drawn by `draw_filters`, and the others 0."""
    wanted = mask.nonzero()[:, 0]
    flat = torch.zeros_like(to_rows(weight))
    flat[wanted] = draw_filters(
        initialiser, key=key, weight=weight, filters=wanted, to_rows=to_rows
    )
    return flat
