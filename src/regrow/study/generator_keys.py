"""Seeds for torch's generators, one for each purpose, network and epoch."""

from __future__ import annotations

import hashlib


def generator_key(purpose: str, seed: int, index: int) -> int:
    """A seed that depends on all its parts.

    torch's generators on the CPU use the low 32 bits of a seed, so these are a hash of everything.
    """
    digest = hashlib.blake2b(f"{purpose}/{seed}/{index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def partner_seed(seed: int, place: int) -> int:
    """The seed of one of several networks of a trial; the first is paired with the single networks of other arms."""
    return seed if place == 0 else generator_key("partner", seed, place)
