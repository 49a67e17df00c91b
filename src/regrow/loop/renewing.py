"""Carry out a decision: in the model, in the optimizers' memory, and in the model's copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from regrow.compose import Decision
from regrow.history import Renewed
from regrow.loop.calibration import Calibration
from regrow.loop.resting import Resting
from regrow.renewal import Activity, Layer, Renewal, drop_edits
from regrow.renewal.preserve import uncut
from regrow.surgery import Companion, OptimizerSurgeon, apply_edits_, copy_over_


class Renewer:
    """Holds what a renewal writes to.

    Attributes:
        tensors: The model's parameters and buffers by name.
        resting: The filters that are out of the network.
        notes: What a renewal that keeps the output cannot do in this model.

    Args:
        renewal: Masks to edits.
        model: The bare model.
        layers: By module path.
        surgeons: One for each optimizer whose memory is edited.
        companions: Copies of the model.
        calibration: Needed by a renewal with ``preserve``.
        dry_run: Change nothing.
    """

    def __init__(
        self,
        renewal: Renewal,
        *,
        model: nn.Module,
        layers: Mapping[str, Layer],
        surgeons: Sequence[OptimizerSurgeon],
        companions: Sequence[Companion],
        calibration: Calibration | None,
        dry_run: bool,
    ) -> None:
        self._renewal = renewal
        self._model = model
        self._layers = layers
        self._surgeons = surgeons
        self._companions = companions
        self._calibration = calibration if renewal.preserve else None
        self._dry_run = dry_run
        self.resting = Resting()
        self.tensors: dict[str, Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        self.notes: tuple[str, ...] = ()
        if self._calibration is not None:
            activity = self._measure(self._calibration, list(layers))
            self.notes = tuple(
                note for layer in layers.values() for note in uncut(layer.filters, activity)
            )

    def drop(self, decision: Decision, *, step: int) -> None:
        """Take what was decided out of the network.

        Args:
            decision: Masks and scores by layer.
            step: The optimizer step.
        """
        self.resting.begin(decision, step=step)
        if self._dry_run:
            return
        edits = [
            edit
            for path, mask in decision.masks.items()
            for edit in drop_edits(self._layers[path].filters, mask, params=self.tensors)
        ]
        self.resting.keep(edits, self.tensors)
        apply_edits_(self.tensors, edits)
        for companion in self._companions:
            copy_over_(companion.tensors(), self.tensors, edits)
        for surgeon in self._surgeons:
            surgeon.clear(edits)

    def bring_back(self, *, seed: int, step: int) -> list[Renewed]:
        """Renew the filters that are out of the network, and make it whole.

        Args:
            seed: Part of the random numbers' key.
            step: The optimizer step.

        Returns:
            One event a layer.
        """
        resting = self.resting
        decision = Decision(masks=resting.masks, scores=resting.scores)
        restored = resting.restored()
        apply_edits_(self.tensors, restored)
        for companion in self._companions:
            copy_over_(companion.tensors(), self.tensors, restored)
        for surgeon in self._surgeons:
            surgeon.reset(restored)
        events = self.renew(decision, seed=seed, step=step)
        events = [replace(event, dropped=resting.since) for event in events]
        resting.end()
        return events

    def renew(self, decision: Decision, *, seed: int, step: int) -> list[Renewed]:
        """Renew what was decided, in all layers.

        Args:
            decision: Masks and scores by layer.
            seed: Part of the random numbers' key.
            step: The optimizer step.

        Returns:
            One event a layer.
        """
        # Moving a model replaces its buffers, but never its parameters.
        self.tensors.update(self._model.named_buffers(remove_duplicate=False))
        calibration = None if self._dry_run else self._calibration
        activity: Activity | None = None
        before: list[Tensor] = []
        if calibration is not None:
            activity = self._measure(calibration, list(decision.masks))
            before = calibration.outputs()
        events: list[Renewed] = []
        if not self._dry_run:
            self._check(decision.masks, activity, seed=seed, step=step)
        for path, mask in decision.masks.items():
            if not self._dry_run:
                self._renew_layer(self._layers[path], mask, activity, seed=seed, step=step)
            filters = mask.nonzero()[:, 0]
            events.append(
                Renewed(
                    step=step,
                    layer=path,
                    filters=tuple(filters.tolist()),
                    scores=tuple(decision.scores[path][filters].tolist()),
                )
            )
        if calibration is None:
            return events
        change = calibration.change_since(before)
        return [replace(event, change=change) for event in events]

    def _check(
        self, masks: Mapping[str, Tensor], activity: Activity | None, *, seed: int, step: int
    ) -> None:
        """An optimizer whose memory cannot be edited is an error before the first layer is written, not between two."""
        for path, mask in masks.items() if self._surgeons else ():
            edits = self._renewal.edits(
                self._layers[path],
                mask,
                params=self.tensors,
                seed=seed,
                step=step,
                activity=activity,
            )
            for surgeon in self._surgeons:
                surgeon.check(edits)

    def _renew_layer(
        self, layer: Layer, mask: Tensor, activity: Activity | None, *, seed: int, step: int
    ) -> None:
        edits = self._renewal.edits(
            layer, mask, params=self.tensors, seed=seed, step=step, activity=activity
        )
        if any(not edit.fresh for edit in edits):
            self._shift_companions(layer, mask, activity, seed=seed, step=step)
        apply_edits_(self.tensors, edits)
        for companion in self._companions:
            copy_over_(companion.tensors(), self.tensors, edits)
        for surgeon in self._surgeons:
            surgeon.reset(edits)

    def _shift_companions(
        self, layer: Layer, mask: Tensor, activity: Activity | None, *, seed: int, step: int
    ) -> None:
        """A copy has readers of its own: what they lose is computed from its weights, not from the model's."""
        for companion in self._companions:
            held = companion.tensors()
            own = {**self.tensors, **held}
            there = mask.to(own[layer.filters.weight].device)
            edits = self._renewal.edits(
                layer, there, params=own, seed=seed, step=step, activity=activity
            )
            shifts = [edit for edit in edits if not edit.fresh and edit.name in held]
            apply_edits_(held, shifts)

    def _measure(self, calibration: Calibration, paths: Sequence[str]) -> Activity:
        return calibration.activity(
            reader for path in paths for reader in self._layers[path].filters.readers
        )
