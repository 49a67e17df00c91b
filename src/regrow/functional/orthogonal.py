"""New directions that avoid given ones (RePr): random inside the null space, least overlapping where there is none."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_JITTER = 1e-13
"""Added to squared singular values, of vectors of length 1."""


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
        (C, F) in the dtype of `noise`; computed in float64 on the CPU, so that devices agree.

    Edge cases:
        Nothing to avoid: the noise, made orthonormal. A row of `noise` that is 0 where noise itself is needed stays 0.

    Source:
        Prakash et al. 2019, Section 3, step 4 ("orthogonal to its value before being dropped and the current value of
        non-pruned filters"); random vectors inside the null space, and least overlap where it is too small, follow
        the author's replies.

    Examples:
        >>> avoiding_directions(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, -2.0]])).abs()
        tensor([[0., 1.]])
    """
    wanted, length = noise.shape
    given = avoid.detach().to("cpu", torch.float64)
    random = noise.detach().to("cpu", torch.float64)
    lengths = torch.linalg.vector_norm(given, dim=-1, keepdim=True)
    given = (given / lengths.where(lengths > 0, 1.0))[(lengths > 0).squeeze(-1)]
    has_room = len(given) + wanted <= length
    made = _inside_null_space(given, random) if has_room else _least_used(given, random)
    return made.to(noise.device, noise.dtype)


def _inside_null_space(given: Tensor, random: Tensor) -> Tensor:
    """There is room whatever the rank of the given vectors is: no singular values are needed."""
    if len(given):
        # (A A^T) has a Cholesky factor once a little is added; what that leaves lies along singular vectors with values
        # under its root, which no given vector has a share in that counts.
        gram = given @ given.mT
        gram.diagonal().add_(_JITTER)
        factor = torch.linalg.cholesky(gram)
        for _ in range(3):  # again for what rounding and the little left behind
            shares = torch.cholesky_solve(given @ random.mT, factor)
            random = random - shares.mT @ given
    made = torch.linalg.qr(random.mT)
    signs = made.R.diagonal().sign()
    return (made.Q * signs.where(signs != 0, 1.0)).mT


def _least_used(given: Tensor, random: Tensor) -> Tensor:
    """By singular values: those that are 0 span the null space, the smallest of the others come next."""
    wanted, length = random.shape
    squares, vectors = torch.linalg.eigh(given.mT @ given)  # ascending: least used first
    free = int(
        (squares < length * torch.finfo(torch.float64).eps * max(1.0, float(squares[-1]))).sum()
    )
    null = vectors[:, :free]
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
