"""What a step's passes have shown, for one recipe: over micro-batches and ranks, with who is blocked and by what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from regrow.activity import ActivityMeter
from regrow.activity.readings import PassReading
from regrow.criteria import LayerActivity
from regrow.graph import Filters, Wiring
from regrow.loop.activity.factors import Factors, scales
from regrow.loop.activity.merging import ROWS, means, over_passes, row_of, together
from regrow.loop.ranks import Ranks
from regrow.loop.trained import Trained

_PATIENCE: Final = 2
"""Steps of watched layers that had a gradient, and in which no pass was read, after which that is said."""

_STRANGE: Final = 10
"""Watched steps in a row in which all of a layer came another way than the traced one, after which that is said."""


class StepActivity:
    """Asks a meter, step by step.

    Attributes:
        unknown: Layers of which it is not known where their filters leave: they cannot be judged.

    Args:
        meter: Of the model.
        model: The bare model.
        wiring: Its wiring.
        layers: Those that the recipe watches.
        trained: What the optimizers train.
        sums: Means and shares are wanted too.
        every: Read the passes of one in so many steps, where nobody says otherwise.
        ranks: The processes that train the model together.
    """

    def __init__(
        self,
        meter: ActivityMeter,
        *,
        model: nn.Module,
        wiring: Wiring,
        layers: Sequence[Filters],
        trained: Trained,
        sums: bool,
        every: int,
        ranks: Ranks,
    ) -> None:
        self._meter = meter
        self._layers = {each.path: each for each in layers}
        self._trained = trained
        self._sums = sums
        self._every = every
        self._ranks = ranks
        self._misses = 0
        self._passes = 0
        self._strange: Counter[str] = Counter()
        self._parameters = dict(model.named_parameters(remove_duplicate=False))
        # By the whole wiring: a scale that nobody trains is not among what a renewal may touch.
        self._factors = Factors(
            model,
            {path: (*meter.flow(path).factors, *scales(wiring[path])) for path in self._layers},
        )
        self._heard_by = {path: _writers(wiring, path) for path in self._layers}
        self.unknown = tuple(path for path in self._layers if not meter.knows(path))
        self.asked: frozenset[str] = frozenset()
        weights = (filters.weight for filters in self._layers.values())
        self.started_at_zero = self._factors.zeros(weights)

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Layers that come another way than the one that was traced, step after step."""
        return tuple(path for path, count in self._strange.items() if count >= _STRANGE)

    def ask(self, layers: frozenset[str]) -> None:
        """Read these layers' passes from here on.

        Args:
            layers: Their paths.
        """
        layers = layers - set(self.unknown)
        if layers != self.asked:
            self.asked = layers
            self._meter.ask(self, layers, sums=self._sums)

    def asks_all(self, *, step: int) -> bool:
        """Whether all layers' passes are read in a step, where nobody says otherwise.

        Args:
            step: The step.

        Returns:
            Whether they are.
        """
        return step % self._every == 0

    def forget(self) -> None:
        """What was read so far belongs to another time."""
        self._meter.take(self)

    def leave(self) -> None:
        """Read nothing any more."""
        self._meter.leave(self)
        self.asked = frozenset()

    def show(self, values: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> None:
        """A pass that no module has made; see `ActivityMeter.show`."""
        self._meter.show(values, inputs)

    def take(self) -> dict[str, LayerActivity]:
        """What the passes since the last step have shown of the layers that were asked for. Every rank must call it.

        Returns:
            By path; layers that were not run, or that are not trained at the moment, are not in it.
        """
        if not self.asked:
            return {}
        by_layer: dict[str, list[PassReading]] = {path: [] for path in sorted(self.asked)}
        for one in self._meter.take(self):
            for path, reading in one.items():
                if path in by_layer:
                    by_layer[path].append(reading)
        learning = self._trained.moving()
        mine = {
            path: over_passes(readings)
            for path, readings in by_layer.items()
            if readings and self._layers[path].weight in learning and self._has_begun(path)
        }
        for path, one in mine.items():
            self._strange[path] = self._strange[path] + 1 if one.strange and not one.lively else 0
        found = self._over_ranks(mine)
        return {
            path: LayerActivity(
                seen=each.seen,
                silent=each.silent,
                starved=each.starved,
                blocked=each.silent
                if each.lively
                else self._factors.block(path, each.silent, moving=learning - self.started_at_zero),
                examples=each.examples,
                lively=each.lively,
                **means(each.sums),
            )
            for path, each in found.items()
        }

    def _has_begun(self, path: str) -> bool:
        """Not while a weight that started as zeros is zeros: it waits for its first gradient."""
        name = self._layers[path].weight
        return name not in self.started_at_zero or bool(self._parameters[name].detach().any())

    def missed(self) -> bool:
        """Whether layers train and no pass is read, step after step, although one has looked everywhere.

        Returns:
            Whether nobody can be judged.
        """
        ran, self._passes = self._meter.passes > self._passes, self._meter.passes
        trains = any(
            self._parameters[self._layers[path].weight].grad is not None for path in self.asked
        )
        self._misses = 0 if ran or not trains else self._misses + 1
        # Not in each of them: it takes a while.
        if self._misses in {1, _PATIENCE} and self._meter.look_for_wrappers():
            self._misses = 0
        return self._misses > _PATIENCE

    def why_blocked(self, path: str, filters: Sequence[int]) -> str:
        """The factors that are 0, by name."""
        return ", ".join(self._factors.zero_for(path, filters)) or "a factor that was 0"

    def why_starved(self, path: str) -> str:
        """Whom the layer hears, by path."""
        return ", ".join(self._heard_by[path][:3]) or "the model's input"

    def _over_ranks(self, mine: Mapping[str, PassReading]) -> dict[str, PassReading]:
        """The same on all ranks: silent is who was silent everywhere, with the same value."""
        if self._ranks.wrapper is None:
            return dict(mine)
        rows: list[Tensor] = []
        for path in sorted(self.asked):
            count, own = self._layers[path].count, mine.get(path)
            rows.append(
                torch.zeros(ROWS, count, dtype=torch.float64, device="cpu")
                if own is None
                else row_of(own)
            )
        everyone = self._ranks.gather(torch.cat(rows, 1), why="confirm='silence'")
        parts = everyone.split([self._layers[path].count for path in sorted(self.asked)], 2)
        found: dict[str, PassReading] = {}
        for path, part in zip(sorted(self.asked), parts, strict=True):
            if bool(part[:, 0].any()):
                found[path] = together(part, like=self._parameters[self._layers[path].weight])
        return found


def _writers(wiring: Wiring, path: str) -> tuple[str, ...]:
    """The layers that a layer hears."""
    return tuple(
        each.path for each in wiring.layers if any(reader.path == path for reader in each.readers)
    )
