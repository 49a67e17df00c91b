"""Which arms renewed filters, how many, and in which part of the training."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from regrow.report.figures.scale import last_epoch
from regrow.study.results import Results

LAYERS: Final = 5
"""Layers named in a legend; the rest are drawn together."""


def renewing_arms(results: Results, cell: str) -> list[str]:
    """The arms that renewed any filter.

    A control has the same renewals as the arm that it replays, and is left out beside it.
    """
    every = [arm.label for arm in results.study.arms]
    found = [label for label in every if results.of_arm(cell, label, results.renewals)]
    controls = results.study.replays
    return [label for label in found if controls.get(label) not in found]


def by_layer(results: Results, cell: str, arm: str) -> dict[str, Counter[int]]:
    """Filters that an arm renewed, by layer and epoch, over all seeds.

    In the order of the numbers in the names; beyond five layers those with the fewest renewals are put together.
    """
    found: dict[str, Counter[int]] = {}
    for _, renewals in results.of_arm(cell, arm, results.renewals):
        for renewal in renewals:
            found.setdefault(renewal.layer, Counter())[renewal.epoch] += 1
    kept = sorted(found, key=lambda layer: -found[layer].total())
    rest = kept[LAYERS:] if len(kept) > LAYERS + 1 else []
    named = {layer: found[layer] for layer in sorted(found, key=_natural) if layer not in rest}
    together = sum((found[layer] for layer in rest), Counter[int]())
    return named | ({f"{len(rest)} other layers": together} if rest else {})


def shown_epochs(results: Results, cell: str, arm: str) -> int:
    """How many epochs are shown: all, or a little more than those with renewals where these end before half of them."""
    every = max(last_epoch(results, cell), 1)
    trials = results.of_arm(cell, arm, results.renewals)
    last = max((renewal.epoch for _, own in trials for renewal in own), default=every)
    return every if 2 * last >= every else min(every, max(round(1.2 * last), last + 1, 5))


def hidden_epochs(results: Results, cell: str, arm: str) -> str:
    """Say in a sentence, after a space, which epochs are not shown; empty when all are."""
    part, every = shown_epochs(results, cell, arm), last_epoch(results, cell)
    if part >= every:
        return ""
    return f" Epochs 1 to {part} of {every} are shown: none was renewed later."


def even(first: float, last: float, number: int) -> list[float]:
    """Numbers at even distances.

    Examples:
        >>> even(0.0, 1.0, 3), even(0.0, 1.0, 1), even(0.0, 1.0, 0)
        ([0.0, 0.5, 1.0], [1.0], [])
    """
    if number == 1:
        return [last]
    return [first + (last - first) * index / (number - 1) for index in range(number)]


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if index % 2 else (0, 0, part) for index, part in enumerate(parts)]
