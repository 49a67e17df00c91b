"""Philox-4x32-10, the counter-based generator, written with torch integers."""

from __future__ import annotations

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
# The fractions of the golden ratio and of the root of 3, as the paper has them: saved runs hold their results to these.
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def _multiply(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The high and low 32 bits of the 64-bit product of two 32-bit words held in int64.

    The product may exceed a signed 64-bit number; it then wraps around, which leaves its 64 bits as
    they should be. The shift copies the sign downwards, and the mask removes those copies.
    """
    product = word * factor
    return (product >> 32) & _WORD, product & _WORD


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
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 = (k0 + _KEY_STEPS[0]) & _WORD
        k1 = (k1 + _KEY_STEPS[1]) & _WORD
    return torch.stack((c0, c1, c2, c3), dim=-1)
