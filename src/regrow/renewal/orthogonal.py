"""Orthogonal: new filters that point where neither the old ones nor the survivors do (RePr).

RePr's renewal, called by `loop/renewer` when filters come back; what belongs to a filter besides is redrawn by
`renewal/redraw`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._checks import check_choice
from regrow._shapes import Mask
from regrow.errors import ConfigError
from regrow.graph.slices import rows, unrows
from regrow.renewal.base import Activity, Edit, Layer
from regrow.renewal.redraw import Redraw

_JITTER = 1e-13
"""Added to squared singular values, of vectors of length 1."""

_LONG = 256
"""Numbers of a filter from which on it pays to look at the spectrum in float32 first; there is nothing to be exact
about where no direction is free."""

_USED = 1e-3
"""No direction is free where the smallest squared singular value is this share of the largest: far above rounding."""

_SPANNED = 1e-8
"""Noise of which no more than this share is new to the noise before it has not enough dimensions."""

_LARGE = 2**18
"""Numbers in all from which on it pays to try float32 first."""

_GOOD = 2e-6
"""The largest |cosine| that passes there: a fifth of what is promised."""


@final
@dataclass(frozen=True, kw_only=True)
class Orthogonal(Redraw):
    """Give a filter a direction that no filter of its layer has, its own old one included.

    Args:
        scale: Length of a new filter: the ``survivors``' mean, or what the layer's ``initialiser`` drew for it.
        bias: As in `Redraw`.
        norm: As in `Redraw`.
        readers: As in `Redraw`.
        preserve: As in `Redraw`.
        draw: None: it is the directions that are drawn here.

    Raises:
        ConfigError: A setting that is not one of those, or another draw.

    Edge cases:
        A layer with as many filters as numbers in a filter, or more, leaves no such direction: then
        `regrow.functional.avoiding_directions` says what is taken. Survivors of length 0 or not finite do not count;
        without any: the initialiser's length. In a grouped layer only filters of the same group are avoided: the others
        read other inputs.

    Source:
        As `regrow.functional.avoiding_directions`.
    """

    scale: Literal["survivors", "initialiser"] = "survivors"

    def __post_init__(self) -> None:
        check_choice(self.scale, ("survivors", "initialiser"), name="scale", where="orthogonal")
        super().__post_init__()
        if self.draw is not None:
            raise ConfigError(
                f"an orthogonal direction is a draw of its own, and leaves no room for draw={self.draw} (orthogonal)"
            )

    def edits(
        self,
        layer: Layer,
        mask: Mask,
        *,
        params: Mapping[str, Tensor],
        seed: int,
        step: int,
        activity: Activity | None = None,
    ) -> list[Edit]:
        """New directions, and the edits around them, as `Redraw` has them."""
        drawn, *around = super().edits(
            layer, mask, params=params, seed=seed, step=step, activity=activity
        )
        filters = layer.filters
        present = rows(params[filters.weight].detach(), filters)
        noise = rows(torch.as_tensor(drawn.value, device=present.device), filters)
        directions = torch.zeros_like(present)
        width = filters.count // filters.groups
        for first in range(0, filters.count, width):  # filters of other groups read other inputs
            group = slice(first, first + width)
            chosen = mask[group]
            if bool(chosen.any()):
                directions[group][chosen] = avoiding_directions(
                    present[group], noise[group][chosen]
                )
        fresh = torch.zeros_like(present)
        fresh[mask] = directions[mask] * self._lengths(present[~mask], noise[mask])
        return [replace(drawn, value=unrows(fresh, filters)), *around]

    def _lengths(self, survivors: Tensor, noise: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(survivors, dim=-1)
        living = lengths[(lengths > 0) & lengths.isfinite()]
        if self.scale == "survivors" and len(living):
            return living.mean()
        return torch.linalg.vector_norm(noise, dim=-1, keepdim=True)


def avoiding_directions(
    avoid: Float[Tensor, "A F"], noise: Float[Tensor, "C F"]
) -> Float[Tensor, "C F"]:
    """Unit vectors orthogonal to all given vectors and to each other, as far as there is room.

    Where the given vectors leave a null space, the new ones are random in it: `noise` with its share in the given
    directions taken out. Where it is too small for all, the rest are the directions that the given vectors use
    least (right singular vectors with the smallest singular values), and where even those run out, the noise itself.

    Args:
        avoid: (A, F), what is to be avoided: a dropped filter's old values and the survivors' present ones, say.
        noise: (C, F), random rows.

    Returns:
        (C, F) in the dtype of `noise`; computed on the CPU, so that devices agree, in float64, or in float32 where that
        is as good (checked afterwards) and much faster.

    Edge cases:
        Nothing to avoid: the noise, made orthonormal. A row of `noise` that is 0 where noise itself is needed stays 0.
        Rows to avoid that are 0 or not finite have no direction. Noise of too few dimensions (a constant, say): what it
        lacks is taken from the null space in no random way.

    Source:
        Prakash et al. 2019, Section 3, step 4 ("orthogonal to its value before being dropped and the current value of
        non-pruned filters"); random vectors inside the null space, and least overlap where it is too small, follow
        the author's replies.

    Examples:
        >>> avoiding_directions(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, -2.0]])).abs()
        tensor([[0., 1.]])
    """
    wanted, length = noise.shape
    has_room = len(avoid) + wanted <= length
    if has_room and avoid.numel() >= _LARGE and noise.dtype != torch.float64:
        # In float32 only if what comes out passes a test: the loss of digits depends on how near to dependent the
        # vectors are, which nobody knows before.
        made = _at_once(_unit(avoid, torch.float32), noise.detach().to("cpu", torch.float32))
        if made is not None:
            return made.to(noise.device, noise.dtype)
    given, random = _unit(avoid, torch.float64), noise.detach().to("cpu", torch.float64)
    has_room = len(given) + wanted <= length
    made = _inside_null_space(given, random) if has_room else None
    if made is None:
        made = _least_used(given, random)
    return made.to(noise.device, noise.dtype)


def _unit(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """With length 1, on the CPU, without those that have no direction."""
    found = rows.detach().to("cpu", dtype, copy=True)
    lengths = torch.linalg.vector_norm(found, dim=-1, keepdim=True)
    there = ((lengths > 0) & lengths.isfinite()).squeeze(-1)
    if not bool(there.all()):
        found, lengths = found[there], lengths[there]
    return found.div_(lengths)


def _at_once(given: Tensor, random: Tensor) -> Tensor | None:
    """In float32, and only if it turns out to be good enough: many vectors that are far from dependent."""
    factor, failed = torch.linalg.cholesky_ex(given @ given.mT)
    # Not positive definite: as good as dependent, which is for float64 to handle.
    if int(failed):
        return None
    for _ in range(2):  # again for what rounding left behind
        shares = torch.cholesky_solve(given @ random.mT, factor)
        random = random - shares.mT @ given
    made, _ = _orthonormal(random)
    return made if float((given @ made.mT).abs().amax()) < _GOOD else None


def _inside_null_space(given: Tensor, random: Tensor) -> Tensor | None:
    """There is room whatever their rank is: no singular values are needed. None: the noise has too few dimensions."""
    lengths = torch.linalg.vector_norm(random, dim=-1)
    if len(given):
        # (A A^T) has a Cholesky factor once a little is added; what that leaves lies along singular vectors with values
        # under its root, which no given vector has a share in that counts.
        gram = given @ given.mT
        factor = _factor(gram)
        wanted = given @ random.mT
        shares = torch.cholesky_solve(wanted, factor)
        for _ in range(2):  # again for what rounding and the little left behind
            shares += torch.cholesky_solve(wanted - gram @ shares, factor)
        random = random - shares.mT @ given
    made, new = _orthonormal(random)
    return made if bool((new > _SPANNED * lengths).all()) else None


def _factor(gram: Tensor) -> Tensor:
    """A Cholesky factor, of a little more where rounding has made it indefinite."""
    more = _JITTER
    while True:
        factor, failed = torch.linalg.cholesky_ex(
            gram + more * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        )
        if not int(failed):
            return factor
        more *= 10.0


def _orthonormal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """A basis of what they span, the first with the first one's direction, and so on; and how much each adds."""
    made = torch.linalg.qr(rows.mT)
    diagonal = made.R.diagonal()
    # QR gives a vector or its opposite, as the library likes. With the noise's own sign the directions are the same on
    # every machine.
    signs = diagonal.sign()
    return (made.Q * signs.where(signs != 0, 1.0)).mT, diagonal.abs()


def _least_used(given: Tensor, random: Tensor) -> Tensor:
    """By singular values: those that are 0 span the null space, the smallest of the others come next."""
    wanted, length = random.shape
    squares, vectors = _spectrum(given)
    free = int(
        (squares < length * torch.finfo(torch.float64).eps * max(1.0, float(squares[-1]))).sum()
    )
    null = vectors[:, :free]
    # With room one comes here when the noise has too few dimensions, without it when the given vectors are dependent.
    if free >= wanted:
        inside = torch.linalg.qr((random @ null).mT)  # a random turn of the null space
        return (null @ inside.Q).mT
    if free:
        turn = torch.linalg.qr((random[:free] @ null).mT).Q
        null = null @ turn
    made = torch.cat([null, vectors[:, free:wanted]], dim=1).mT
    if wanted <= length:
        return made
    rest = random[length:]
    lengths = torch.linalg.vector_norm(rest, dim=-1, keepdim=True)
    return torch.cat([made, rest / lengths.where(lengths > 0, 1.0)])


def _spectrum(given: Tensor) -> tuple[Tensor, Tensor]:
    """Squared singular values, and the right singular vectors as columns; the least used first."""
    length = given.shape[1]
    if length >= _LONG and len(given) >= length:
        rough = given.to(torch.float32)
        squares, vectors = torch.linalg.eigh(rough.mT @ rough)
        if float(squares[0]) > _USED * float(squares[-1]):
            return squares.to(torch.float64), vectors.to(torch.float64)
    return torch.linalg.eigh(given.mT @ given)
