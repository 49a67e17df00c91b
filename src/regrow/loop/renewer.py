"""Carry out a decision: in the model, in the optimizers' state, and in the model's copies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Final, Protocol

from torch import Tensor, nn

from regrow.decision import Decision
from regrow.errors import StateError
from regrow.history import Renewed
from regrow.loop.measure.calibration import Calibration
from regrow.loop.measure.live_means import LiveMeans
from regrow.loop.measure.newest_pass import NewestPass
from regrow.loop.start.initialisers import fresh_entries, with_fresh
from regrow.loop.trained import WorkingLayers
from regrow.renewal import Activity, Edit, Heard, Layer, Need, Renewal
from regrow.renewal.preserve import uncut
from regrow.surgery import (
    Companion,
    CountedNorms,
    OptimizerSurgeon,
    Target,
    apply_edits_,
    copy_over_,
)

_MANY: Final = 4
"""A layer, or a network, with fewer filters is not said to lose many at once."""

_Targets = list[list[Target]]
"""By optimizer, what of its state a layer's renewal begins anew."""


class ZeroHolder(Protocol):
    """Keeps entries of the model at 0 at the moment, for a recipe that has filters out of it."""

    def adopt_(self, edits: Sequence[Edit], tensors: Mapping[str, Tensor]) -> None:
        """Somebody has written into them: keep what was written for later, and put them back to 0."""
        ...


class Renewer:
    """Holds what a renewal writes to.

    Attributes:
        tensors: The model's parameters and buffers by name.
        working: Which layers can be renewed at the moment, and what may be written.
        surgeons: One for each optimizer whose state is edited.
        companions: Copies of the model.
        counted: Keeps the running statistics of renewed channels right where a norm has one count for all.
        calibration: Measures what is cut off, for a renewal that keeps the output.
        newest: Says what layers heard; None where nobody must know.
        dry_run: Change nothing.
        fresh: What an entry of a fresh channel holds, of norms that began with something else than torch's own values.
        first: Copies of what the layers began with, by name; empty where nobody must know.
        notes: What a renewal that keeps the output cannot do in this model.

    Args:
        renewal: Masks to edits.
        model: The bare model.
        layers: By module path.
        working: As above.
        surgeons: As above.
        companions: As above.
        calibration: Needed by a renewal with ``preserve``.
        newest: Says what layers heard, for a renewal that must know.
        dry_run: As above.
        live: Says what readers receive, for a renewal that moves means as the criterion remembers them.
        drops: Whether filters leave the network before they are renewed: then no mean of theirs is moved anywhere.
        reset_state: Give renewed entries the optimizer state of fresh ones.
        leads: Whether no other process's buffers are written over the model's.
        holders: Who keeps entries of the model at 0, of all recipes on it.
    """

    def __init__(
        self,
        renewal: Renewal,
        *,
        model: nn.Module,
        layers: Mapping[str, Layer],
        working: WorkingLayers,
        surgeons: Sequence[OptimizerSurgeon],
        companions: Sequence[Companion],
        calibration: Calibration | None,
        newest: NewestPass | None = None,
        dry_run: bool,
        live: LiveMeans | None = None,
        drops: bool = False,
        reset_state: bool = True,
        leads: bool = True,
        holders: Collection[ZeroHolder] = (),
    ) -> None:
        self._renewal = renewal
        self._model = model
        self._layers = dict(layers)
        self.working = working
        self.surgeons = surgeons
        self.companions = companions
        self.newest = newest
        self.dry_run = dry_run
        self._reset_state = reset_state
        self._holders = holders
        self.counted = CountedNorms(model, leads=leads)
        self.tensors: dict[str, Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        self.fresh: dict[str, float] = {}
        self.load_fresh(fresh_entries(self._layers.values(), self.tensors))
        self.first: dict[str, Tensor] = {}
        if Need.FIRST in renewal.needs:
            own = [name for each in self._layers.values() for name in _own(each)]
            self.load_first({name: self.tensors[name].detach().clone() for name in own})
        self.notes: tuple[str, ...] = ()
        if calibration is not None and renewal.keeps_output:
            activity = None if drops else self._measure(calibration, list(layers))
            self.notes = tuple(
                note for layer in layers.values() for note in uncut(layer.filters, activity)
            )
        self._live = live
        if live is not None:
            self.notes = tuple(note for each in layers.values() for note in live.lost(each.filters))
        self.calibration = None if dry_run or not renewal.keeps_output else calibration

    def load_fresh(self, fresh: Mapping[str, float]) -> None:
        """Take what fresh channels began with, by name of a norm's tensor: a norm's scale may begin at 0."""
        self.fresh = dict(fresh)
        self._layers = {path: with_fresh(layer, self.fresh) for path, layer in self._layers.items()}

    def load_first(self, first: Mapping[str, Tensor]) -> None:
        """Take what the layers began with."""
        # In main memory: they are looked at in a renewal alone.
        self.first = {name: values.to("cpu") for name, values in first.items()}
        self._layers = {
            path: replace(layer, first=self.first) for path, layer in self._layers.items()
        }

    def scaled(self, factors: Mapping[str, float]) -> None:
        """Layers were scaled before the first step, by path: that is what they begin with."""
        weights = {layer.filters.weight: path for path, layer in self._layers.items()}
        if self.first:
            self.load_first(
                {
                    name: first * factors.get(weights.get(name, ""), 1.0)
                    for name, first in self.first.items()
                }
            )

    def noted(self, notes: tuple[str, ...]) -> tuple[str, ...]:
        """A report's notes, and where nothing was heard, which is said."""
        return notes if self.newest is None else self.newest.told(notes)

    def leave(self) -> None:
        """Look at no pass any more."""
        if self.newest is not None:
            self.newest.leave()

    def state_dict(self) -> dict[str, Any]:
        """What is not in the model, and is needed for renewals to come."""
        first = {"first": self.first} if self.first else {}
        return {"fresh": dict(self.fresh), "counted": self.counted.state_dict(), **first}

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse what `load_state_dict` cannot work with."""
        self.counted.check_state(state["counted"])
        for name, own in self.first.items():
            if name not in state["first"] or state["first"][name].shape != own.shape:
                raise StateError(f"the saved regrower's first values of {name} are not whole")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume."""
        self.load_fresh(state["fresh"])
        self.counted.load_state_dict(state["counted"])
        if self.first:
            self.load_first(state["first"])

    def refreshed(self) -> dict[str, Tensor]:
        """The tensors as they are now: moving a model replaces its buffers, but never its parameters."""
        self.tensors.update(self._model.named_buffers(remove_duplicate=False))
        return self.tensors

    def renew(self, decision: Decision, *, seed: int, step: int) -> list[Renewed]:
        """Renew what was decided, one event a layer."""
        # A loop may have frozen a layer since it was decided.
        trained = self.working.trained.now()
        decision = of_layers(self.working.now(trained), decision)
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
        heard = {} if self.newest is None else self._heard(decision.masks, seed=seed, step=step)

        def made(path: str) -> list[Edit]:
            return self._edits(
                path,
                decision.masks[path],
                activity,
                seed=seed,
                step=step,
                trained=trained,
                heard=heard,
                strengths=decision.strengths.get(path),
            )

        # All are made before the first is written: an optimizer whose state cannot be edited is an error then, and not
        # between two layers.
        for path in () if self.dry_run else decision.masks:
            edits[path] = made(path)
            targets[path] = [surgeon.check(edits[path]) for surgeon in self.surgeons]
        events: list[Renewed] = []
        written: set[str] = set()
        for path, mask in decision.masks.items():
            if not self.dry_run:
                mine, filters = edits[path], self._layers[path].filters
                shifts = False in [edit.fresh for edit in mine]
                read = {filters.weight, *[reader.weight for reader in filters.readers]}
                if shifts or not written.isdisjoint(read) or (written and heard):
                    # Another layer's renewal has changed what these were worked out from.
                    if written and heard:
                        heard = self._heard([path], seed=seed, step=step)
                    mine = made(path)
                    targets[path] = [surgeon.check(mine) for surgeon in self.surgeons]
                if shifts:
                    self._shift_companions(
                        path,
                        mask,
                        activity,
                        seed=seed,
                        step=step,
                        heard=heard,
                        strengths=decision.strengths.get(path),
                    )
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

    def _heard(self, paths: Iterable[str], *, seed: int, step: int) -> dict[str, Heard]:
        """What layers hear now, with what was renewed in front of them; nothing where nobody must know."""
        if self.newest is None:
            return {}
        layers = [self._layers[path].filters for path in paths]
        return self.newest.heard(layers, seed=seed, step=step)

    def _edits(
        self,
        path: str,
        mask: Tensor,
        activity: Activity | None,
        *,
        seed: int,
        step: int,
        params: Mapping[str, Tensor] | None = None,
        trained: Set[str] | None = None,
        heard: Mapping[str, Heard] | None = None,
        strengths: Tensor | None = None,
    ) -> list[Edit]:
        """What a renewal writes: never a tensor that nobody trains at the moment."""
        layer = self._layers[path]
        if heard or strengths is not None:
            layer = replace(layer, heard=heard[path] if heard else None, strengths=strengths)
        edits = self._renewal.edits(
            layer,
            mask,
            params=self.tensors if params is None else params,
            seed=seed,
            step=step,
            activity=activity,
        )
        return self.working.trained.permitted(edits, trained)

    def _write(self, edits: Sequence[Edit], targets: _Targets) -> None:
        """In the model, in its copies, and in the optimizers' state."""
        apply_edits_(self.tensors, edits)
        if None in [norm.momentum for norm in self.counted.norms]:
            self.counted.enter(edits)
        for companion in self.companions:
            copy_over_(companion.tensors(), self.tensors, edits)
        for surgeon, mine in zip(self.surgeons, targets, strict=True):
            if self._reset_state:
                surgeon.begin(mine)
        for holder in self._holders:
            holder.adopt_(edits, self.tensors)

    def _shift_companions(
        self,
        path: str,
        mask: Tensor,
        activity: Activity | None,
        *,
        seed: int,
        step: int,
        heard: Mapping[str, Heard],
        strengths: Tensor | None,
    ) -> None:
        """A copy has readers of its own: what they lose is computed from its weights, not from the model's."""
        for companion in self.companions:
            held = companion.tensors()
            own = {**self.tensors, **held}
            there = mask.to(own[self._layers[path].filters.weight].device)
            edits = self._edits(
                path,
                there,
                activity,
                seed=seed,
                step=step,
                params=own,
                heard=heard,
                strengths=strengths,
            )
            shifts = [edit for edit in edits if not edit.fresh and edit.name in held]
            apply_edits_(held, shifts)

    def _measure(self, calibration: Calibration, paths: Sequence[str]) -> Activity:
        """What readers receive; no mean can go into the statistics of a norm that is frozen."""
        found = calibration.activity(
            reader for path in paths for reader in self._layers[path].filters.readers
        )
        means = [each.running_mean for each in found.values() if each.running_mean is not None]
        open_ = self.working.trained.writable(means)
        return {
            path: each if each.running_mean in open_ else replace(each, running_mean=None)
            for path, each in found.items()
        }


def _own(layer: Layer) -> list[str]:
    filters = layer.filters
    return [filters.weight] if filters.bias is None else [filters.weight, filters.bias]


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
