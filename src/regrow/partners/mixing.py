"""Blends in place and lengths, in pieces that stay in a processor's cache.

Called by `partners/network.py`, for every tensor that is blended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor

_PIECE: Final = 1 << 17
"""Entries that are looked at in one go: half a megabyte in float32."""


_LONG: Final = 1 << 20
"""Entries that are summed up in one go: float32 is exact enough."""

SMALL: Final = 1 << 13
"""Tensors with fewer entries are mixed together: each call has a price of its own."""


def mix_all_(tensors: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
    """Write the blends of pairs over the first of each: own, partner's and share, as `mix_` takes them."""
    small: dict[tuple[Any, ...], list[tuple[Tensor, Tensor, Tensor]]] = {}
    for own, partner, share in tensors:
        if own.is_floating_point() and own.numel() < SMALL:
            # Joined only with their like: `cat` would promote, and round, what is of another type.
            kind = (own.dtype, own.device, partner.dtype, partner.device)
            spread = share if share.shape == own.shape else share.expand(own.shape)
            pair = (own.detach(), _flat(partner.detach()), _flat(spread))
            small.setdefault(kind, []).append(pair)
        else:
            mix_(own, partner, share)
    for together in small.values():
        targets, partners, shares = (list(several) for several in zip(*together, strict=True))
        mine = torch.cat([_flat(own) for own in targets])
        mixed = blend(mine, torch.cat(partners), torch.cat(shares))
        parts = mixed.split([own.numel() for own in targets])
        shaped = [
            part if own.ndim == 1 else part.view(own.shape)
            for own, part in zip(targets, parts, strict=True)
        ]
        torch._foreach_copy_(targets, shaped)  # pyright: ignore[reportPrivateUsage] # as torch's optimizers do


def _flat(tensor: Tensor) -> Tensor:
    """All entries in a row; most small tensors are one, and a call saved is time saved."""
    return tensor if tensor.ndim == 1 else tensor.reshape(-1)


def mix_(own: Tensor, partner: Tensor, share: Tensor) -> None:
    """Write the blend of two tensors over the first one, without temporaries where one share is for all of it.

    What is neither floating point nor complex becomes a copy of the partner's.
    """
    own, partner = own.detach(), partner.detach()
    if not (own.is_floating_point() or own.is_complex()):
        own.copy_(partner)
        return
    # The same order of entries on both sides: what a processor rounds must not depend on how they lie in memory.
    flat, other = own.reshape(-1), partner.reshape(-1)
    if share.ndim == 0 and _is_wide(own, partner):
        _mix_whole(flat, other, float(share))
    else:
        shares = share if share.ndim == 0 else share.expand(own.shape).reshape(-1)
        flat.copy_(blend(flat, other, shares))
    if not own.is_contiguous():  # a copy was mixed
        own.copy_(flat.view(own.shape))


def mix_and_measure_(own: Tensor, partner: Tensor, share: Tensor) -> float:
    """`mix_`, and how far both were `apart` before: where one share is for all, each piece is read once for both."""
    if share.ndim or not own.is_contiguous() or not _is_wide(own, partner):
        found = apart(own, partner)
        mix_(own, partner, share)
        return found
    return apart(own, partner, mixed=float(share))


def _is_wide(own: Tensor, partner: Tensor) -> bool:
    """Whether both can be mixed as they are."""
    wide = torch.promote_types(own.dtype, torch.float32) == own.dtype
    return wide and own.dtype == partner.dtype and own.device == partner.device


def _mix_whole(own: Tensor, partner: Tensor, share: float) -> None:
    """As `blend` works it out."""
    # By a sum, in which both sides come out with the same bits. By `lerp` each would round its own way round, and two
    # networks that have just become equal would drift apart.
    if share == 0.5:
        piece = _piece(own)
        for mine, theirs in zip(own.split(piece), partner.split(piece), strict=True):
            mine.add_(theirs).mul_(0.5)
    # From the one that keeps more, as `blend`: the smaller share is the exact one, and is the same number on both
    # sides.
    elif share > 0.5:
        own.lerp_(partner, 1.0 - share)
    else:
        torch.lerp(partner, own, share, out=own)


def length(tensor: Tensor) -> float:
    """Root of the sum of the squares of a tensor, floating point or complex, summed up in pieces."""
    flat = tensor.detach().reshape(-1)
    kind = torch.promote_types(flat.dtype, torch.float32)
    return _root([torch.vdot(part, part) for part in flat.to(kind).split(_LONG)])


def apart(own: Tensor, partner: Tensor, *, mixed: float | None = None) -> float:
    """Length of the difference of two tensors, in at least 32 bits; each piece is `mixed` then, if a share is given."""
    flat, other = own.detach().reshape(-1), partner.detach().reshape(-1)
    kind, piece = torch.promote_types(own.dtype, torch.float32), _piece(flat)
    room = torch.empty(min(piece, len(flat)), dtype=kind, device=flat.device)
    squares: list[Tensor] = []
    for mine, theirs in zip(flat.split(piece), other.split(piece), strict=True):
        way = torch.sub(mine.to(kind), theirs.to(mine.device, kind), out=room[: len(mine)])
        # Measured before it is mixed, while the piece is in the cache: afterwards there is nothing left to be measured.
        squares.append(torch.vdot(way, way))
        if mixed is not None:
            _mix_whole(mine, theirs, mixed)
    return _root(squares)


def _piece(row: Tensor) -> int:
    return _PIECE if row.device.type == "cpu" else max(1, len(row))


def _root(squares: list[Tensor]) -> float:
    """One transfer a tensor."""
    if not squares:
        return 0.0
    if len(squares) == 1:
        return math.sqrt(squares[0].real.item())
    found: list[float] = torch.stack(squares).real.tolist()
    return math.sqrt(math.fsum(found))


def blend(own: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Mix two tensors.

        share * own + (1 - share) * partner

    Worked out from the one that keeps more, by the difference of both, so that two networks that take from each other
    come out alike:

        own + (1 - share) (partner - own)    or    partner + share (own - partner)

    Args:
        own: Any shape, floating point or complex.
        partner: The same shape.
        share: Broadcasts to it.

    Returns:
        A tensor like `own`; 16-bit numbers are mixed in float32.

    Edge cases:
        Equal numbers stay, whatever the share. A share of 1/2 gives the mean of both, with the same bits from both
        sides. Entries with a share of their own that is 1 keep their bits, also where the partner's are no numbers.

    Examples:
        >>> blend(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 5.0]), torch.tensor(0.75))
        tensor([1.5000, 5.0000])
    """
    kind = torch.promote_types(own.dtype, torch.float32)
    mine, theirs = own.to(kind), partner.to(own.device, kind)
    weight = share.detach().to("cpu", torch.float64)
    # The smaller of both shares is exact in float64: it is rounded once, and alike on both sides.
    smaller = torch.where(weight < 0.5, weight, 1.0 - weight).to(own.device, kind)
    keeps, even, alone = (
        each.to(own.device) for each in (weight > 0.5, weight == 0.5, weight == 1.0)
    )
    most, least = torch.where(keeps, mine, theirs), torch.where(keeps, theirs, mine)
    mixed = torch.where(even, (mine + theirs) * 0.5, torch.lerp(most, least, smaller))
    return torch.where(alone & (weight.ndim > 0), own, mixed.to(own.dtype))
