"""Bit flipping, or slowly changing regression: a number to be learnt from bits, most of which keep still for long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from regrow.streams.task import Source, Task, dice
from regrow.study.stream import BitFlipping

TESTED: Final = 512
"""Examples that a task is tested on when it ends."""


def task(settings: BitFlipping, source: Source, *, seed: int, index: int) -> Task:
    """Examples in the order in which they are met, with the answers of the seed's target network.

        x       bits 0 and 1: the first `flipping` slow, the others drawn for each example
        unit k  1 if the number of inputs (the bits, and a constant 1) that agree with its weights w_k, each 1 or -1,
                is above beta (bits + 1), else 0: the same as  sum_j w_kj x_j + b_k > beta (bits + 1) - S_k,  where S_k
                counts the -1 among w_k and b_k
        y       sum_k v_k unit_k + c,    v_k and c each 1 or -1

    After every `flip_every` examples one of the slow bits, picked at random, flips (``article``), or all of them are
    drawn anew (``shipped``). The learner does not see the constant: it has biases. Its network is too small for the
    target, so that the best that it can do is to follow the slow bits, for ever. Tested on random bits behind the
    slow ones of the task's last example.

    Source:
        Dohare, Sutton, Mahmood, "Continual Backprop: Stochastic Gradient Descent with Persistent Randomness", 2021
        (bit-flipping); Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024 (slowly
        changing regression). The released code takes S_k = (bits - sum_j w_kj + b_k) / 2, in which the bias has the
        wrong sign, so that units with b_k = -1 are hardly ever on: ``shipped`` has these thresholds.
    """
    flip_every = settings.flip_every or settings.examples
    count, first = settings.examples, index * settings.examples
    periods = torch.arange(first, first + count, device="cpu") // flip_every
    slow = slow_bits(settings, seed=seed, last=int(periods[-1]))
    answers = _target(settings, seed=seed)
    others = settings.bits - settings.flipping
    shown = torch.cat([slow[periods], _bits(dice("bits", seed, index), count, others)], 1)
    still = slow[-1].expand(TESTED, -1)
    tested = torch.cat([still, _bits(dice("test bits", seed, index), TESTED, others)], 1)
    device = source.x_train.device
    return Task(
        images=shown.view(count, 1, 1, settings.bits).to(device),
        labels=answers(shown).to(device),
        test_images=tested.view(TESTED, 1, 1, settings.bits).to(device),
        test_labels=answers(tested).to(device),
    )


def slow_bits(settings: BitFlipping, *, seed: int, last: int) -> Tensor:
    """The slow bits between two flips each, (last + 1, flipping): from before the first to behind the last."""
    drawn = [_bits(dice("slow bits", seed), settings.flipping)]
    for flip in range(1, last + 1):
        numbers = dice("flip", seed, flip)
        if settings.form == "shipped":
            drawn.append(_bits(numbers, settings.flipping))
            continue
        now = drawn[-1].clone()
        if settings.flipping:
            place = int(torch.randint(settings.flipping, (), generator=numbers, device="cpu"))
            now[place] = 1 - now[place]
        drawn.append(now)
    return torch.stack(drawn)


def _target(settings: BitFlipping, *, seed: int) -> Callable[[Tensor], Tensor]:
    """The network that is to be learnt."""
    numbers, units, bits = dice("target", seed), settings.units, settings.bits

    def signs(*shape: int) -> Tensor:
        return 2.0 * _bits(numbers, *shape) - 1.0

    weights, bias = signs(units, bits), signs(units)
    negative = (bits - weights.sum(1)) / 2
    counted = negative + ((1 - bias) / 2 if settings.form == "article" else bias / 2)
    # In float64, so that a count that must be above its bound is not taken for equal to it.
    above = settings.beta * (bits + 1) - counted.double() - bias.double()
    outer, offset = signs(units), signs()

    def answers(bits: Tensor) -> Tensor:
        """Whole numbers, (n,), without rounding."""
        on = bits @ weights.T > above
        return on.to(bits.dtype) @ outer + offset

    return answers


def _bits(numbers: torch.Generator, *shape: int) -> Tensor:
    return torch.randint(2, shape, generator=numbers, device="cpu").float()
