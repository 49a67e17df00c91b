"""Carry out a decision: in the model, in the optimizers' state, and in the model's copies.

Called by `loop/stepper` behind the optimizer's step, and by a drop phase; asks the renewal for edits, and
`surgery/edits` writes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

from regrow.decision import Decision
from regrow.history import Renewed
from regrow.loop.host import Host
from regrow.loop.measure.calibration import Calibration
from regrow.loop.measure.live_means import LiveMeans
from regrow.loop.measure.newest_pass import NewestPass
from regrow.loop.start.beginnings import Beginnings
from regrow.renewal import Activity, Edit, LayerInput, Need, Renewal
from regrow.renewal.preserve import uncut
from regrow.surgery import (
    CountedNorms,
    OptimizerSurgeon,
    Target,
    apply_edits_,
    copy_over_,
)

if TYPE_CHECKING:  # the drop phase is made of a renewer
    from regrow.loop.drop.absent import AbsentFilters

_MANY: Final = 4
"""A layer, or a network, with fewer filters is not said to lose many at once."""

_Targets = list[list[Target]]
"""By optimizer, what of its state a layer's renewal begins anew."""


@dataclass(frozen=True, kw_only=True)
class _Occasion:
    """What all layers have in common that are renewed at one step."""

    seed: int  # for random numbers
    step: int
    activity: Activity | None  # what readers receive, where that is known
    trained: Set[str] | None  # what `TrainedTensors.now` has just said
    heard: Mapping[str, LayerInput]  # what layers hear, by path; empty where nobody must know
    # How far filters are moved, by path; empty but for a graded selection.
    strengths: Mapping[str, Tensor]


class Renewer:
    """Holds what a renewal writes to."""

    def __init__(
        self,
        renewal: Renewal,  # masks to edits
        host: Host,  # the model in its training, with its layers and copies
        *,
        surgeons: Sequence[OptimizerSurgeon],  # one for each optimizer whose state is edited
        calibration: Calibration | None,  # needed by a renewal with ``preserve``
        newest: NewestPass | None,  # says what layers heard, for a renewal that must know
        # Says what readers receive, for a renewal that moves means as the criterion remembers them.
        live: LiveMeans | None,
        # Whether filters leave the network before they are renewed: then no mean of theirs is moved anywhere.
        drops: bool,
        reset_state: bool,  # give renewed entries the optimizer state of fresh ones
        holders: Collection[AbsentFilters],  # who keeps entries at 0, of all recipes on the model
    ) -> None:
        self._renewal, self.host = renewal, host
        self.surgeons, self.newest = surgeons, newest
        self._reset_state, self.holders = reset_state, holders
        model, layers = host.model, host.layers
        # Keeps the running statistics of renewed channels right where a norm has one count for all.
        self.counted = CountedNorms(model, leads=host.ranks.keeps_buffers)
        self.tensors: dict[str, Tensor] = {  # the model's parameters and buffers by name
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        # The layers, each with what it began with.
        self.beginnings = Beginnings(layers, self.tensors, first=Need.FIRST in renewal.needs)
        # What a renewal that keeps the output cannot do in this model.
        self.notes: tuple[str, ...] = ()
        if calibration is not None and renewal.keeps_output:
            activity = None if drops else self._measure(calibration, list(layers))
            self.notes = tuple(
                note for layer in layers.values() for note in uncut(layer.filters, activity)
            )
        self._live = live
        if live is not None:
            self.notes = tuple(note for each in layers.values() for note in live.lost(each.filters))
        # Measures what is cut off, for a renewal that keeps the output.
        self.calibration = None if host.dry_run or not renewal.keeps_output else calibration

    def state_dict(self) -> dict[str, Any]:
        """What is not in the model, and is needed for renewals to come."""
        return {"counted": self.counted.state_dict(), **self.beginnings.state_dict()}

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse what `load_state_dict` cannot work with."""
        self.counted.check_state(state["counted"])
        self.beginnings.check_state(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume."""
        self.counted.load_state_dict(state["counted"])
        self.beginnings.load_state_dict(state)

    def refreshed(self) -> dict[str, Tensor]:
        """The tensors as they are now: moving a model replaces its buffers, but never its parameters."""
        self.tensors.update(self.host.model.named_buffers(remove_duplicate=False))
        return self.tensors

    def renew(self, decision: Decision, *, seed: int, step: int) -> list[Renewed]:
        """Renew what was decided, one event a layer."""
        # A loop may have frozen a layer since it was decided.
        trained = self.host.working.trained.now()
        decision = of_layers(self.host.working.now(trained), decision)
        if not decision.masks:
            return []
        self.refreshed()
        calibration = self.calibration
        if calibration is None:
            live = self._live
            activity = None if live is None else live.activity(decision.means, self.tensors)
            return self.carry_out(decision, activity, seed=seed, step=step, trained=trained)
        calibration.data.ask(step)
        activity = self._measure(calibration, list(decision.masks))
        before = calibration.outputs()
        events = self.carry_out(decision, activity, seed=seed, step=step, trained=trained)
        change = calibration.change_since(before)
        return [replace(event, change=change) for event in events]

    def carry_out(
        self,
        decision: Decision,
        activity: Activity | None,
        *,
        seed: int,
        step: int,
        trained: Set[str] | None = None,
    ) -> list[Renewed]:
        """Renew the filters of layers that all take part; `trained` is what `TrainedTensors.now` has just said."""
        edits: dict[str, list[Edit]] = {}
        targets: dict[str, _Targets] = {}
        occasion = _Occasion(
            seed=seed,
            step=step,
            activity=activity,
            trained=trained,
            heard={} if self.newest is None else self._heard(decision.masks, seed=seed, step=step),
            strengths=decision.strengths,
        )
        # All are made before the first is written: an optimizer whose state cannot be edited is an error then, and not
        # between two layers.
        for path, mask in () if self.host.dry_run else decision.masks.items():
            edits[path] = self._edits(path, mask, occasion)
            targets[path] = [surgeon.check(edits[path]) for surgeon in self.surgeons]
        events: list[Renewed] = []
        written: set[str] = set()
        for path, mask in decision.masks.items():
            if not self.host.dry_run:
                mine, filters = edits[path], self.beginnings.layers[path].filters
                shifts = False in [edit.fresh for edit in mine]
                read = {filters.weight, *[reader.weight for reader in filters.readers]}
                if shifts or not written.isdisjoint(read) or (written and occasion.heard):
                    # Another layer's renewal has changed what these were worked out from.
                    if written and occasion.heard:
                        occasion = replace(
                            occasion, heard=self._heard([path], seed=seed, step=step)
                        )
                    mine = self._edits(path, mask, occasion)
                    targets[path] = [surgeon.check(mine) for surgeon in self.surgeons]
                if shifts:
                    self._shift_companions(path, mask, occasion)
                self._write(mine, targets[path])
                written.update([edit.name for edit in mine])
            units = mask.nonzero()[:, 0]
            events.append(
                Renewed(
                    step=step,
                    layer=path,
                    filters=tuple(units.tolist()),
                    scores=tuple(decision.scores[path][units].tolist()),
                )
            )
        return events

    def _heard(self, paths: Iterable[str], *, seed: int, step: int) -> dict[str, LayerInput]:
        """What layers hear now, with what was renewed in front of them; nothing where nobody must know."""
        if self.newest is None:
            return {}
        layers = [self.beginnings.layers[path].filters for path in paths]
        return self.newest.heard(layers, seed=seed, step=step)

    def _edits(
        self, path: str, mask: Tensor, at: _Occasion, *, params: Mapping[str, Tensor] | None = None
    ) -> list[Edit]:
        """What a renewal writes: never a tensor that nobody trains at the moment."""
        layer = self.beginnings.layers[path]
        if at.heard or at.strengths:
            layer = replace(layer, heard=at.heard.get(path), strengths=at.strengths.get(path))
        edits = self._renewal.edits(
            layer,
            mask,
            params=self.tensors if params is None else params,
            seed=at.seed,
            step=at.step,
            activity=at.activity,
        )
        return self.host.working.trained.permitted(edits, at.trained)

    def _write(self, edits: Sequence[Edit], targets: _Targets) -> None:
        """In the model, in its copies, and in the optimizers' state."""
        apply_edits_(self.tensors, edits)
        if None in [norm.momentum for norm in self.counted.norms]:
            self.counted.enter(edits)
        for companion in self.host.companions:
            copy_over_(companion.tensors(), self.tensors, edits)
        for surgeon, mine in zip(self.surgeons, targets, strict=True):
            if self._reset_state:
                surgeon.begin(mine)
        # Last: what another recipe holds at 0 learns its new values, and is 0 again.
        for holder in self.holders:
            holder.adopt_(edits, self.tensors)

    def _shift_companions(self, path: str, mask: Tensor, at: _Occasion) -> None:
        """A copy has readers of its own: what they lose is computed from its weights, not from the model's."""
        for companion in self.host.companions:
            held = companion.tensors()
            own = {**self.tensors, **held}
            there = mask.to(own[self.beginnings.layers[path].filters.weight].device)
            edits = self._edits(path, there, replace(at, trained=None), params=own)
            apply_edits_(held, [edit for edit in edits if not edit.fresh and edit.name in held])

    def _measure(self, calibration: Calibration, paths: Sequence[str]) -> Activity:
        """What readers receive; no mean can go into the statistics of a norm that is frozen."""
        found = calibration.activity(
            reader for path in paths for reader in self.beginnings.layers[path].filters.readers
        )
        means = [each.running_mean for each in found.values() if each.running_mean is not None]
        open_ = self.host.working.trained.writable(means)
        return {
            path: each if each.running_mean in open_ else replace(each, running_mean=None)
            for path, each in found.items()
        }


def of_layers(paths: Set[str], decision: Decision) -> Decision:
    """What of a decision concerns these layers."""
    if decision.masks.keys() <= paths:
        return decision
    masks = {path: mask for path, mask in decision.masks.items() if path in paths}
    return replace(decision, masks=masks)


def large_share(decision: Decision, layers: Mapping[str, int]) -> str:
    """Where a decision takes more than a third of a layer or of the network (`layers`: filters by path); "" nowhere."""
    found: list[str] = []
    total, whole = 0, sum(layers.values())
    for path, mask in decision.masks.items():
        count, of_layer = int(mask.sum()), layers[path]
        total += count
        if of_layer >= _MANY and 3 * count > of_layer:
            found.append(f"{count} of {of_layer} filters of '{path}'")
    if whole >= _MANY and 3 * total > whole:
        found.append(f"{total} of {whole} filters of the network")
    return " and ".join(found)
