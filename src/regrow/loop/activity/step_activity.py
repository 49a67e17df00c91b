"""What a step's passes have shown, for one recipe: over micro-batches and ranks, with who is blocked and by what.

Made at attach, held by a `Lookout`; the model's `ActivityMeter` reads the passes for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn

from regrow.activity import ActivityMeter
from regrow.activity.outlet_range import Centre
from regrow.activity.readings import PassReading
from regrow.activity.silence import TOLERANCE
from regrow.compose import Recipe
from regrow.criteria import LayerActivity, Signal
from regrow.decision import watching
from regrow.errors import ConfigError
from regrow.loop.activity import places
from regrow.loop.activity.factors import Factors, scales
from regrow.loop.host import Host

_FLAGS: Final = 5
"""What is told of each filter besides sums: seen, silent, starved, its constant, examples."""

_WHY_SUMS: Final = "a criterion that reads forward passes"

_PATIENCE: Final = 2
"""Steps of watched layers that had a gradient, and in which no pass was read, after which that is said."""

_STRANGE: Final = 10
"""Watched steps in a row in which all of a layer came another way than the traced one, after which that is said."""


class StepActivity:
    """Asks a meter, step by step."""

    def __init__(self, recipe: Recipe, host: Host, *, every: int) -> None:
        model, called, wiring = host.model, host.called, host.wiring
        criterion = recipe.criterion
        watches = watching(criterion) is not None
        instead = "confirm='gradient'" if watches else "a criterion that does not read them"
        if isinstance(called, nn.DataParallel) and len(called.device_ids) > 1:
            raise ConfigError(
                f"the criterion {type(criterion).__name__} reads forward passes, and DataParallel makes them in "
                f"copies on several devices: use DistributedDataParallel, or {instead} (attach)"
            )
        self._wiring = wiring
        self._meter = meter = ActivityMeter.of(model, wiring, called=called)
        self._layers = {path: layer.filters for path, layer in host.layers.items()}
        # Layers of which it is not known where their filters leave: they cannot be judged.
        self.unknown = tuple(path for path in self._layers if not meter.knows(path))
        if len(self.unknown) == len(self._layers):
            raise ConfigError(
                f"the criterion {type(criterion).__name__} must know where filters leave, and this wiring says it of "
                f"no layer: give attach(example_inputs=...), a wiring that regrow.trace made, or {instead} (attach)"
            )
        self._trained = host.working.trained
        # Means and shares are wanted too; who is silent is wanted.
        self._sums, self._ranges = not watches, Signal.ACTIVITY in criterion.needs
        # And where it is asked for, how far what they give is from a centre; see `centre`.
        self._rows = _FLAGS + (5 if Signal.DEVIATIONS in criterion.needs else 4)
        self._every = every  # read the passes of one in so many steps, where nobody says otherwise
        self._ranks = host.ranks
        self._misses = 0
        self._passes = 0
        self._strange: Counter[str] = Counter()
        self._parameters = dict(model.named_parameters(remove_duplicate=False))
        # By the whole wiring: a scale that nobody trains is not among what a renewal may touch.
        self._factors = Factors(
            model,
            {path: (*meter.flow(path).factors, *scales(wiring[path])) for path in self._layers},
        )
        self._orders = {
            path: [places.by_unit(each.units, layer.count) for each in meter.flow(path).outlets]
            for path, layer in self._layers.items()
        }
        self.asked: frozenset[str] = frozenset()
        weights = (filters.weight for filters in self._layers.values())
        self.started_at_zero = self._factors.zeros(weights)

    @classmethod
    def asked_by(cls, recipe: Recipe, host: Host, *, every: int) -> StepActivity | None:
        """For a criterion that wants to know what passes show; None for others."""
        asks = not recipe.criterion.needs.isdisjoint({Signal.ACTIVITY, Signal.MEANS})
        return cls(recipe, host, every=every) if asks else None

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Layers that come another way than the one that was traced, step after step."""
        return tuple(path for path, count in self._strange.items() if count >= _STRANGE)

    def ask(self, layers: frozenset[str]) -> None:
        """Read these layers' passes from here on."""
        layers = layers - set(self.unknown)
        if layers != self.asked:
            self.asked = layers
            self._meter.ask(self, layers, sums=self._sums, ranges=self._ranges)

    def centre(self, centres: Mapping[str, Centre]) -> None:
        """Measure distances from these in the coming passes."""
        self._meter.centres.put(self, centres)

    def asks_all(self, step: int) -> bool:
        """Whether all layers' passes are read in a step, where nobody says otherwise."""
        return step % self._every == 0

    def forget(self) -> None:
        """What was read so far belongs to another time."""
        self._meter.take(self)

    def leave(self) -> None:
        """Read nothing any more."""
        self._meter.leave(self)
        self._meter.centres.leave(self)
        self.asked = frozenset()

    def show(self, values: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> None:
        """A pass that no module has made; see `ActivityMeter.show`."""
        self._meter.show(values, inputs)

    def take(self) -> dict[str, LayerActivity]:
        """What the passes since the last step have shown of the layers that were asked for. Every rank must call it."""
        if not self.asked:
            return {}
        passes = self._meter.take(self)
        by_layer = {
            path: [one[path] for one in passes if path in one] for path in sorted(self.asked)
        }
        learning = self._trained.moving()
        mine = {
            path: _over_passes(readings)
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
                places=places.means_of(each.placed, self._orders[path]),
                **_means(each.sums),
            )
            for path, each in found.items()
        }

    def _has_begun(self, path: str) -> bool:
        """Not while a weight that started as zeros is zeros: it waits for its first gradient."""
        name = self._layers[path].weight
        return name not in self.started_at_zero or bool(self._parameters[name].detach().any())

    def missed(self) -> bool:
        """Whether layers train and no pass is read, step after step, although one has looked everywhere."""
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
        heard = [
            each.path
            for each in self._wiring.layers
            if any(reader.path == path for reader in each.readers)
        ]
        return ", ".join(heard[:3]) or "the model's input"

    def _over_ranks(self, mine: Mapping[str, PassReading]) -> dict[str, PassReading]:
        """The same on all ranks: silent is who was silent everywhere, with the same value."""
        if self._ranks.wrapper is None:
            return dict(mine)
        several: list[Tensor] = []
        for path in sorted(self.asked):
            own = mine.get(path)
            several.append(_row_of(own, self._rows, self._layers[path].count))
            if self._sums:
                placed = () if own is None else own.placed
                several.append(places.row_of(placed, self._outlets(path)))
        why = _WHY_SUMS if self._sums else "confirm='silence'"
        gathered = iter(self._ranks.gather(several, why=why))
        found: dict[str, PassReading] = {}
        for path in sorted(self.asked):
            rows, sums = next(gathered), next(gathered) if self._sums else None
            if bool(rows[:, 0].any()):
                like = self._parameters[self._layers[path].weight]
                found[path] = _together(rows, like=like)
                if sums is not None:
                    placed = places.placed_of(sums.sum(0), self._outlets(path), like=like)
                    found[path] = replace(found[path], placed=placed)
        return found

    def _outlets(self, path: str) -> tuple[int, ...]:
        return tuple(len(each.units) for each in self._meter.flow(path).outlets)


def _row_of(own: PassReading | None, rows: int, count: int) -> Tensor:
    """What one rank has seen of a layer, as numbers: (rows, O), float64 on the CPU; zeros where it was nothing."""
    row = torch.zeros(rows, count, dtype=torch.float64, device="cpu")
    if own is not None:
        examples = torch.full_like(own.constant, own.examples)
        for number, flag in enumerate((own.seen, own.silent, own.starved, own.constant, examples)):
            row[number] = flag
        if own.sums is not None:
            row[_FLAGS:] = own.sums[: rows - _FLAGS]  # another recipe may ask for more
    return row


def _together(ranks: Tensor, *, like: Tensor) -> PassReading:
    """One reading from the rows of all ranks, (R, rows, O): silent is who was so on each, with the same value."""
    seen = ranks[:, 0].bool()
    where = torch.where(seen, ranks[:, 3], torch.nan)
    low, high = where.nan_to_num(torch.inf).amin(0), where.nan_to_num(-torch.inf).amax(0)
    size = torch.maximum(low.abs(), high.abs()).where(seen.any(0), 0.0).amax()
    silent = (ranks[:, 1].bool() | ~seen).all(0) & (high - low <= TOLERANCE * size)
    return PassReading(
        seen=seen.any(0).to(like.device),
        silent=(silent & seen.any(0)).to(like.device),
        constant=low.to(like.device),
        starved=(ranks[:, 2].bool() | ~seen).all(0).to(like.device),
        examples=int(ranks[:, 4].amax(1).sum()),
        sums=ranks[:, _FLAGS:].sum(0).to(like.device),
    )


def _over_passes(readings: Sequence[PassReading]) -> PassReading:
    """Micro-batches of one step: silent is who was silent in each in which it was seen."""
    if len(readings) == 1:
        return readings[0]
    seen = torch.stack([each.seen for each in readings])
    sums = [each.sums for each in readings if each.sums is not None]
    return PassReading(
        seen=seen.any(0),
        silent=(torch.stack([each.silent for each in readings]) | ~seen).all(0) & seen.any(0),
        constant=readings[-1].constant,
        starved=(torch.stack([each.starved for each in readings]) | ~seen).all(0),
        examples=sum(each.examples for each in readings),
        sums=torch.stack(sums).sum(0) if sums else None,
        placed=places.together([each.placed for each in readings if each.placed]),
        strange=all(each.strange for each in readings),
    )


def _means(sums: Tensor | None) -> dict[str, Tensor]:
    """A `LayerActivity`'s means from sums; nothing where there are none."""
    if sums is None:
        return {}
    totals, values, apart = sums.split([3, 1, len(sums) - 4])
    names = ("mean", "size", "positive", "deviation")
    each = torch.cat((totals, apart)) if len(apart) else totals
    return dict(zip(names, (each / values).unbind(), strict=False))
