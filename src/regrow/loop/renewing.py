"""Carry out a decision: in the model, in the optimizers' memory, and in the model's copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from regrow.decision import Decision
from regrow.history import Renewed
from regrow.loop.drop.resting import Resting
from regrow.loop.measure.calibration import Calibration
from regrow.loop.saving import check_resting
from regrow.loop.start.initials import fresh_entries, with_fresh
from regrow.loop.working import Working
from regrow.renewal import Activity, Edit, Layer, Out, Renewal
from regrow.renewal.preserve import uncut
from regrow.surgery import (
    Companion,
    CountedNorms,
    OptimizerSurgeon,
    Target,
    apply_edits_,
    copy_over_,
)

_Targets = list[tuple[Target, ...]]
"""By optimizer, what of its state a layer's renewal begins anew."""


class Renewer:
    """Holds what a renewal writes to.

    Attributes:
        tensors: The model's parameters and buffers by name.
        resting: The filters that are out of the network.
        counted: Keeps the running statistics of renewed channels right where a norm has one count for all.
        fresh: What an entry of a fresh channel holds, of norms that began with something else than torch's own values.
        notes: What a renewal that keeps the output cannot do in this model.

    Args:
        renewal: Masks to edits.
        model: The bare model.
        layers: By module path.
        working: Which of them can be renewed at the moment, and what may be written.
        surgeons: One for each optimizer whose memory is edited.
        companions: Copies of the model.
        calibration: Needed by a renewal with ``preserve``.
        dry_run: Change nothing.
        out: What is silent with filters that are dropped; needed by a recipe that drops.
        reset_memory: Give renewed entries the memory of fresh ones; False: what was remembered of them.
        leads: Whether no other process's buffers are written over the model's.
    """

    def __init__(
        self,
        renewal: Renewal,
        *,
        model: nn.Module,
        layers: Mapping[str, Layer],
        working: Working,
        surgeons: Sequence[OptimizerSurgeon],
        companions: Sequence[Companion],
        calibration: Calibration | None,
        dry_run: bool,
        out: Out | None = None,
        reset_memory: bool = True,
        leads: bool = True,
    ) -> None:
        self._renewal = renewal
        self._model = model
        self._layers = dict(layers)
        self._surgeons = surgeons
        self._companions = companions
        self._calibration = calibration if renewal.keeps_output else None
        self._dry_run = dry_run
        self._out = out
        self._working = working
        self._trained = working.trained
        self._reset_memory = reset_memory
        self.resting = Resting(model)
        self.counted = CountedNorms(model, leads=leads)
        self.tensors: dict[str, Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        self.fresh: dict[str, float] = {}
        self.load_fresh(fresh_entries(self._layers.values(), self.tensors))
        self.notes: tuple[str, ...] = ()
        if self._calibration is not None:
            # What was dropped is not heard, and no mean of it is moved anywhere.
            activity = self._measure(self._calibration, list(layers)) if out is None else None
            self.notes = tuple(
                note for layer in layers.values() for note in uncut(layer.filters, activity)
            )

    def drop(self, decision: Decision, *, step: int) -> None:
        """Take what was decided out of the network.

        Args:
            decision: Masks and scores by layer.
            step: The optimizer step.
        """
        decision = _only(self._working.now(), decision)
        if self._out is None or not decision.masks:
            return
        self.resting.begin(decision, step=step)
        self.resting.bound = self._out.bound(self.resting.masks)
        if self._dry_run:
            return
        self._refresh()
        edits = self._trained.permitted(self._out.edits(decision.masks, params=self.tensors))
        for surgeon in self._surgeons:
            surgeon.check(edits)
        self.counted.after_step()
        self.resting.take_out_(edits, self.tensors)
        self.counted.leave(edits)
        for companion in self._companions:
            copy_over_(companion.tensors(), self.tensors, edits)
        for surgeon in self._surgeons:
            if not self._reset_memory:
                for name in dict.fromkeys(edit.name for edit in edits):
                    self.resting.keep_memory(name, surgeon.remembered(name))
            surgeon.clear(edits)

    def bring_back(self, *, seed: int, step: int) -> list[Renewed]:
        """Renew the filters that are out of the network, and make it whole.

        Those of layers that were frozen meanwhile come back as they were.

        Args:
            seed: Part of the random numbers' key.
            step: The optimizer step.

        Returns:
            One event a layer.
        """
        resting = self.resting
        decision = Decision(masks=resting.masks, scores=resting.scores)
        self._refresh()
        calibration = None if self._dry_run else self._calibration
        before = [] if calibration is None else calibration.outputs()  # of the network without them
        self.counted.after_step()
        resting.put_back_(self.tensors)
        if calibration is not None:
            self._cut_()
        restored = resting.edits(self.tensors)
        for companion in self._companions:
            copy_over_(companion.tensors(), self.tensors, restored)
        held = [edit for edit in restored if self._trained.held(edit.name)]
        for surgeon in self._surgeons:
            if self._reset_memory:
                surgeon.reset(held)
            else:
                for edit in restored:
                    resting.put_memory_back_(edit.name, surgeon.remembered(edit.name))
        resting.silence_again_(restored, self.tensors)
        events = self._renew(_only(self._working.returning(), decision), {}, seed=seed, step=step)
        events = [replace(event, dropped=resting.since) for event in events]
        resting.end()
        if calibration is None:
            return events
        change = calibration.change_since(before)
        return [replace(event, change=change) for event in events]

    def _cut_(self) -> None:
        """What reads the filters that come back stays 0, and learns to hear them: the output does not jump.

        Not where nobody would train it.
        """
        if self._out is not None:
            unheard = self._out.unheard(self.resting.masks, params=self.tensors)
            edits = [Edit(name=name, mask=mask, value=0.0) for name, mask in unheard.items()]
            apply_edits_(self.tensors, self._trained.permitted(edits))

    def let_go(self) -> bool:
        """Hold nothing at zero any more.

        Returns:
            Whether filters were out, and now stay as they are.
        """
        self.resting.silence.end()
        self.resting.leave()
        return bool(self.resting) and not self._dry_run

    def check_resting(self, state: object) -> None:
        """Refuse what `load_resting` cannot work with.

        Args:
            state: What is to be loaded.
        """
        counts = {path: layer.filters.count for path, layer in self._layers.items()}
        self._refresh()
        check_resting(state, self.tensors, counts=counts, parameters=self._parameter_names())

    def load_resting(self, state: Mapping[str, Any]) -> None:
        """Take over the filters that are out in a saved state.

        Args:
            state: What `Resting.state_dict` gave.
        """
        self._refresh()
        self.resting.load_state_dict(state, self.tensors, parameters=self._parameter_names())
        if self._out is not None:
            self.resting.bound = self._out.bound(self.resting.masks)

    def load_fresh(self, fresh: Mapping[str, float]) -> None:
        """Take what fresh channels began with: a norm's scale may begin at 0.

        Args:
            fresh: By name of a norm's tensor.
        """
        self.fresh = dict(fresh)
        self._layers = {path: with_fresh(layer, self.fresh) for path, layer in self._layers.items()}

    def _parameter_names(self) -> set[str]:
        return {name for name, _ in self._model.named_parameters(remove_duplicate=False)}

    def _refresh(self) -> None:
        """Moving a model replaces its buffers, but never its parameters."""
        self.tensors.update(self._model.named_buffers(remove_duplicate=False))

    def renew(self, decision: Decision, *, seed: int, step: int) -> list[Renewed]:
        """Renew what was decided, in all layers.

        Args:
            decision: Masks and scores by layer.
            seed: Part of the random numbers' key.
            step: The optimizer step.

        Returns:
            One event a layer.
        """
        # A loop may have frozen a layer since it was decided.
        decision = _only(self._working.now(), decision)
        if not decision.masks:
            return []
        self._refresh()
        calibration = None if self._dry_run else self._calibration
        activity: Activity | None = None
        before: list[Tensor] = []
        if calibration is not None:
            activity = self._measure(calibration, list(decision.masks))
            before = calibration.outputs()
        events = self._renew(decision, activity, seed=seed, step=step)
        if calibration is None:
            return events
        change = calibration.change_since(before)
        return [replace(event, change=change) for event in events]

    def _renew(
        self, decision: Decision, activity: Activity | None, *, seed: int, step: int
    ) -> list[Renewed]:
        events: list[Renewed] = []
        made = {} if self._dry_run else self._edits(decision.masks, activity, seed=seed, step=step)
        touched: set[str] = set()
        for path, mask in decision.masks.items():
            if not self._dry_run:
                layer, (edits, targets) = self._layers[path], made[path]
                read = {layer.filters.weight, *(each.weight for each in layer.filters.readers)}
                if touched & read or any(not edit.fresh for edit in edits):
                    # Another layer's renewal has changed what these were worked out from.
                    edits = self._edits_of(layer, mask, activity, seed=seed, step=step)
                    targets = self._targets(edits)
                if any(not edit.fresh for edit in edits):
                    self._shift_companions(layer, mask, activity, seed=seed, step=step)
                self._write(edits, targets)
                touched |= {edit.name for edit in edits}
            filters = mask.nonzero()[:, 0]
            events.append(
                Renewed(
                    step=step,
                    layer=path,
                    filters=tuple(filters.tolist()),
                    scores=tuple(decision.scores[path][filters].tolist()),
                )
            )
        return events

    def _edits(
        self, masks: Mapping[str, Tensor], activity: Activity | None, *, seed: int, step: int
    ) -> dict[str, tuple[list[Edit], _Targets]]:
        """Of all layers, before the first is written.

        An optimizer whose state cannot be edited is an error then, and not between two layers.
        """
        made: dict[str, tuple[list[Edit], _Targets]] = {}
        for path, mask in masks.items():
            edits = self._edits_of(self._layers[path], mask, activity, seed=seed, step=step)
            made[path] = edits, self._targets(edits)
        return made

    def _targets(self, edits: Sequence[Edit]) -> _Targets:
        """What each optimizer's state has of them."""
        return [surgeon.check(edits) for surgeon in self._surgeons]

    def _edits_of(
        self,
        layer: Layer,
        mask: Tensor,
        activity: Activity | None,
        *,
        seed: int,
        step: int,
        params: Mapping[str, Tensor] | None = None,
    ) -> list[Edit]:
        """What a renewal writes: never a tensor that nobody trains at the moment."""
        edits = self._renewal.edits(
            layer,
            mask,
            params=self.tensors if params is None else params,
            seed=seed,
            step=step,
            activity=activity,
        )
        return self._trained.permitted(edits)

    def _write(self, edits: Sequence[Edit], targets: _Targets) -> None:
        """In the model, in its copies, and in the optimizers' state."""
        self.counted.after_step()
        apply_edits_(self.tensors, edits)
        self.counted.enter(edits)
        for companion in self._companions:
            copy_over_(companion.tensors(), self.tensors, edits)
        for surgeon, mine in zip(self._surgeons, targets, strict=True):
            if self._reset_memory:
                surgeon.begin(mine)
        self.resting.silence_again_(edits, self.tensors)

    def _shift_companions(
        self, layer: Layer, mask: Tensor, activity: Activity | None, *, seed: int, step: int
    ) -> None:
        """A copy has readers of its own: what they lose is computed from its weights, not from the model's."""
        for companion in self._companions:
            held = companion.tensors()
            own = {**self.tensors, **held}
            there = mask.to(own[layer.filters.weight].device)
            edits = self._edits_of(layer, there, activity, seed=seed, step=step, params=own)
            shifts = [edit for edit in edits if not edit.fresh and edit.name in held]
            apply_edits_(held, shifts)

    def _measure(self, calibration: Calibration, paths: Sequence[str]) -> Activity:
        """What readers receive; no mean can go into the statistics of a norm that is frozen."""
        found = calibration.activity(
            reader for path in paths for reader in self._layers[path].filters.readers
        )
        means = [each.running_mean for each in found.values() if each.running_mean is not None]
        open_ = self._trained.writable(means)
        return {
            path: each if each.running_mean in open_ else replace(each, running_mean=None)
            for path, each in found.items()
        }


def _only(able: Set[str], decision: Decision) -> Decision:
    """What of a decision concerns these layers."""
    masks = {path: mask for path, mask in decision.masks.items() if path in able}
    return replace(decision, masks=masks)
