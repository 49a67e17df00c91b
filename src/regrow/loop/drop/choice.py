"""Select from the filters that are in the network, and never so that a layer is left with none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import final

import torch

from regrow._shapes import Mask, Scores
from regrow.graph import Streams
from regrow.graph.streams import Unit
from regrow.loop.drop.absent import AbsentFilters
from regrow.renewal import Absence
from regrow.selection import Selection, SelectionState


@final
@dataclass(eq=False)
class Choice(Selection):
    """A recipe's selection, told what other recipes have taken out of the same model, and what a drop takes with it.

    Filters that another recipe has out are shown to nobody: they have no score, and count neither for a share of the
    network nor as the one that a layer keeps. Where a drop would leave a layer without any filter (by what leaves
    with it, `Absence.bound`), the best of those that would do so stay.
    """

    select: Selection  # the recipe's
    absent: Collection[AbsentFilters]  # who has filters out of the model at the moment
    own: AbsentFilters  # what this recipe has out of it
    streams: Streams | None  # filters that are selected as one
    absence: Absence | None  # what leaves with a filter; for a recipe that drops

    def __post_init__(self) -> None:
        self.remembers, self.graded = self.select.remembers, self.select.graded

    def idle(self, scores: Mapping[str, Scores]) -> bool:
        """As the recipe's selection: it marks nobody whom that does not mark."""
        return self.select.idle(scores)

    def strengths(self, scores: Mapping[str, Scores]) -> dict[str, Scores]:
        """As the recipe's selection."""
        return self.select.strengths(scores)

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark filters that are in the network."""
        _, masks = self.chosen({}, scores, eligible=eligible, step=step)
        return {path: masks.get(path, torch.zeros_like(each)) for path, each in eligible.items()}

    def chosen(
        self,
        state: SelectionState,
        scores: Mapping[str, Scores],
        *,
        eligible: Mapping[str, Mask],
        step: int,
    ) -> tuple[SelectionState, dict[str, Mask]]:
        """Mark filters that are in the network, by what the recipe's selection remembers."""
        absent = self._out_elsewhere({path: len(each) for path, each in scores.items()})
        choose = partial(self._of_those_present, absent) if absent else self.select.chosen
        state, masks = choose(state, scores, eligible=eligible, step=step)
        if self.absence is not None:
            masks = self._sparing(masks, scores, self.absence, absent)
        return state, masks

    def _out_elsewhere(self, counts: Mapping[str, int]) -> dict[str, Mask]:
        """The filters that other recipes have out, by layer: they are none of this one's business."""
        found: dict[str, Mask] = {}
        for each in self.absent:
            for layer, gone in (*each.filters.items(), *each.bound.items()):
                if layer in counts and each is not self.own:
                    nobody = torch.zeros(counts[layer], dtype=torch.bool, device="cpu")
                    found.setdefault(layer, nobody)[list(gone)] = True
        return found

    def _of_those_present(
        self,
        absent: Mapping[str, Mask],
        state: SelectionState,
        scores: Mapping[str, Scores],
        *,
        eligible: Mapping[str, Mask],
        step: int,
    ) -> tuple[SelectionState, dict[str, Mask]]:
        there = {
            path: torch.ones(len(each), dtype=torch.bool, device=each.device)
            for path, each in scores.items()
        }
        for path, gone in absent.items():
            there[path] &= ~gone.to(there[path].device)
        # A stream of which a writer is out is not whole.
        may = there if self.streams is None else self.streams.gather(scores, there)[1]
        state, found = self.select.chosen(
            state,
            {path: each[there[path]] for path, each in scores.items()},
            eligible={
                path: (each & may[path].to(each.device))[there[path].to(each.device)]
                for path, each in eligible.items()
            },
            step=step,
        )
        return state, {
            path: torch.zeros_like(there[path]).masked_scatter(there[path], mask)
            for path, mask in found.items()
        }

    def _sparing(
        self,
        masks: Mapping[str, Mask],
        scores: Mapping[str, Scores],
        absence: Absence,
        absent: Mapping[str, Mask],
    ) -> dict[str, Mask]:
        """Go from the lowest score up, and pass over whoever would leave a layer empty."""
        before = absence.emptied(absent)
        marked = [
            (path, index) for path, mask in masks.items() for index in mask.nonzero()[:, 0].tolist()
        ]
        # Of equal scores the first stays the first.
        left = sorted(marked, key=lambda unit: float(scores[unit[0]][unit[1]]))

        def marks(units: list[Unit]) -> dict[str, Mask]:
            found = {path: torch.zeros_like(mask) for path, mask in masks.items()}
            for path, index in units:
                found[path][index] = True
            return found

        def fits(units: list[Unit]) -> bool:
            found = marks(units)
            found = found if self.streams is None else self.streams.spread(found)
            gone = {path: mask.cpu() for path, mask in found.items()}
            for path, mask in absent.items():
                gone[path] = gone[path] | mask if path in gone else mask
            return absence.emptied(gone) <= before

        if fits(left):
            return dict(masks)
        taken: list[Unit] = []
        while left:
            # The longest run that fits, by bisection: a mark more never fills a layer.
            low, high = 0, len(left)
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if fits([*taken, *left[:middle]]) else (low, middle - 1)
            taken, left = [*taken, *left[:low]], left[low + 1 :]
        return marks(taken)
