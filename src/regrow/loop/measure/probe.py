"""Measure filters on calibration data, where the network hears them; the model is as before afterwards.

Asked by `loop/stepper` at a step that is due, of recipes whose criterion ranks on data; completes the observations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from regrow.criteria import Ablation, ActivationStatistics, Gates, Observation, Signal
from regrow.errors import ConfigError
from regrow.graph import Filters, Wiring
from regrow.graph.slices import rows
from regrow.loop.measure.data import CalibrationData
from regrow.loop.measure.examples import CalibrationLoss, Examples
from regrow.loop.measure.gates import (
    activation_sums,
    gradient_sums,
    slope_sums,
    weight_gradients,
)
from regrow.loop.measure.places import Place, UnheardError, given_at, heard_at, silenced_at
from regrow.loop.measure.silencer import Silencer
from regrow.loop.measure.survey import Survey
from regrow.loop.ranks import Ranks

_TRIED = 3
"""Examples on which everything is tried before training. Few, and an unlikely size of another axis."""

_WHY = "a ranking on calibration data"

_SILENCED = frozenset({Signal.SILENCED_ACCURACY, Signal.SILENCED_LOSS})
_SLOPES = frozenset({Signal.GATES, Signal.EXCHANGES, Signal.OUTPUT_GRADIENTS})
"""Signals that are derivatives where the network hears a filter."""
_COMPARED = frozenset({Signal.GRADIENTS, Signal.PREACTIVATION_GRADIENTS, *_SLOPES, *_SILENCED})
"""Signals that need targets."""

_ADDED = (
    "heard",
    "gates",
    "exchanges",
    "output_gradient",
    "preactivation_gradient",
    "silenced_accuracy",
    "silenced_loss",
)
"""What an observation of an optimizer's step gets besides."""

_Places = Mapping[str, Sequence[Place]]
_SumsOf = Callable[[_Places, Mapping[str, int], Examples], dict[str, Tensor]]
_Made = TypeVar("_Made")


class Probe:
    """What a model's filters do on fixed examples, for criteria that need more than weights and gradients.

    Works with an optimizer or without one. The model runs in evaluation mode; flags, buffers, gradients and random
    state are as they were afterwards. Layers whose filters cannot be followed through modules (weights that work
    elsewhere too, examples that are not at axis 0 inside the model) are not measured.
    """

    def __init__(
        self,
        model: nn.Module,  # the bare model
        layers: Iterable[Filters],  # whose filters are measured, as `regrow.trace` gives them
        # What the model is called with, or a `CalibrationData`; the examples are axis 0 of its tensors.
        inputs: object,
        *,
        signals: Iterable[Signal],  # what is measured
        # One for each example; needed by all signals but weights and activations.
        targets: object = None,
        # The model's output and targets to the mean loss of the batch; None: cross entropy.
        loss: CalibrationLoss | None = None,
        # Of the whole model: with it, filters of depthwise layers that read nothing else are silenced with a
        # filter, as when it is dropped.
        wiring: Wiring | None = None,
        # The processes that train the model together: each has examples of its own, all get the same numbers.
        ranks: Ranks | None = None,
    ) -> None:
        self._model = model
        self._layers = {filters.path: filters for filters in layers}
        self._signals = frozenset(signals)
        self._wiring = wiring
        self._ranks = ranks or Ranks()
        needing = sorted(each.value for each in self._signals & _COMPARED)
        data = CalibrationData.of(model, inputs, targets=targets)
        if needing and data.targets is None:
            raise ConfigError(
                f"{' and '.join(needing)} are derived from a loss: give calibration_targets, one for each of the "
                f"calibration_inputs"
            )
        self._examples = Examples(data, loss=loss)
        self._counts = {path: filters.count for path, filters in self._layers.items()}
        self._heard: dict[str, tuple[Place, ...]] = {}
        self._given: dict[str, tuple[Place, ...]] = {}
        self._silencer: Silencer | None = None
        with self._examples.data.undisturbed():
            self.notes = self._try()  # layers that cannot be measured, and why: they have no score

    def observe(self, only: Collection[str] | None = None) -> dict[str, Observation]:
        """Measure the network as it is now. With several ranks, each must call it."""
        wanted = self._layers.keys() if only is None else self._layers.keys() & set(only)
        heard_at = {path: each for path, each in self._heard.items() if path in wanted}
        given_at = {path: each for path, each in self._given.items() if path in wanted}
        around_means = partial(slope_sums, towards_mean=True)
        with self._examples.data.undisturbed():
            heard = self._means(Signal.ACTIVATIONS, heard_at, activation_sums, _statistics)
            gates = self._means(Signal.GATES, heard_at, slope_sums, _gates)
            exchanges = self._means(Signal.EXCHANGES, heard_at, around_means, _gates)
            outputs = self._means(Signal.OUTPUT_GRADIENTS, heard_at, gradient_sums, _alone)
            given = self._means(Signal.PREACTIVATION_GRADIENTS, given_at, gradient_sums, _alone)
            accuracy, loss = self._silenced_now(wanted)
            grads = self._gradients_now()
        weights = self._weights()
        shown = Signal.WEIGHTS in self._signals
        return {
            path: Observation(
                count=filters.count,
                groups=filters.groups,
                weight=rows(weights[path].detach(), filters) if shown else None,
                grad=rows(grads[path], filters) if path in grads else None,
                heard=heard.get(path),
                gates=gates.get(path),
                exchanges=exchanges.get(path),
                output_gradient=outputs.get(path),
                preactivation_gradient=given.get(path),
                silenced_accuracy=accuracy.get(path),
                silenced_loss=loss.get(path),
            )
            for path, filters in self._layers.items()
            if path in wanted
        }

    def complete(self, seen: Mapping[str, Observation], *, step: int) -> dict[str, Observation]:
        """Add what is measured to what an optimizer's step shows."""
        self._examples.ask(step)
        measured = self.observe(seen.keys())
        return {
            path: replace(one, **{name: getattr(measured[path], name) for name in _ADDED})
            for path, one in seen.items()
        }

    def _try(self) -> tuple[str, ...]:
        """Find the places, and run everything once on the first examples: a mistake is an error before training."""
        tried = min(_TRIED, self._examples.count)
        layers = self._layers.values() if self._wiring is None else self._wiring.layers
        survey = Survey(self._model, layers, self._examples, rows=tried)
        compared = bool(self._signals & _COMPARED)
        self._examples.check(survey.outputs, tried, compared=compared)
        if Signal.SILENCED_ACCURACY in self._signals:
            self._examples.correct(survey.outputs, 0, tried, copies=1)
        notes: list[str] = []
        if self._signals & {Signal.ACTIVATIONS, *_SLOPES}:
            self._heard, left = self._places(heard_at, survey)
            notes += left
        if Signal.PREACTIVATION_GRADIENTS in self._signals:
            self._given, left = self._places(given_at, survey)
            notes += left
        if self._signals & _SILENCED:
            silenced, left = self._places(partial(silenced_at, wiring=self._wiring), survey)
            notes += left
            self._silencer = Silencer(silenced, self._counts, self._examples, rows=tried)
        return tuple(dict.fromkeys(notes))

    def _places(
        self, find: Callable[[Filters, Survey], tuple[Place, ...]], survey: Survey
    ) -> tuple[dict[str, tuple[Place, ...]], list[str]]:
        found: dict[str, tuple[Place, ...]] = {}
        notes: list[str] = []
        for path, filters in self._layers.items():
            try:
                found[path] = find(filters, survey)
            except UnheardError as why:
                notes.append(f"{path} has no score: {why}")
        flags = [path in found for path in self._layers]
        shares = self._ranks.mean_of(flags, why=_WHY)
        everywhere = zip(self._layers, shares, strict=True)
        found = {path: found[path] for path, share in everywhere if share == 1.0}
        if not found:
            why = "; ".join(notes[:3]) or "there is none"
            raise ConfigError(f"no layer can be measured on calibration_inputs: {why} (attach)")
        return found, notes

    def _mean(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Over the ranks: one collective for all layers."""
        if not sums:
            return {}
        flat = torch.cat([each.flatten() for each in sums.values()])
        flat = self._ranks.mean(flat, why=_WHY)
        parts = flat.split([each.numel() for each in sums.values()])
        return {
            path: part.reshape(each.shape)
            for (path, each), part in zip(sums.items(), parts, strict=True)
        }

    def _means(
        self, signal: Signal, places: _Places, sums_of: _SumsOf, make: Callable[..., _Made]
    ) -> dict[str, _Made]:
        """What is made of the means behind a signal, by layer: of sums whose last row says over how many."""
        if signal not in self._signals or not places:
            return {}
        sums = self._mean(sums_of(places, self._counts, self._examples))
        return {path: make(*each[:-1] / each[-1]) for path, each in sums.items()}

    def _silenced_now(self, wanted: Set[str]) -> tuple[dict[str, Ablation], dict[str, Ablation]]:
        if self._silencer is None or not wanted:
            return {}, {}
        counted = Signal.SILENCED_ACCURACY in self._signals
        sums = self._mean(self._silencer.sums(accuracy=counted, only=wanted))
        accuracy = {path: _silenced(each[2:4] / each[4]) for path, each in sums.items()}
        return accuracy if counted else {}, {
            path: _silenced(each[:2] / each[4]) for path, each in sums.items()
        }

    def _gradients_now(self) -> dict[str, Tensor]:
        if Signal.GRADIENTS not in self._signals:
            return {}
        found = weight_gradients(self._weights(), self._examples)
        alike = self._mean(found)
        return {path: grad.to(found[path]) for path, grad in alike.items()}

    def _weights(self) -> dict[str, Tensor]:
        named = dict(self._model.named_parameters(remove_duplicate=False))
        return {path: named[filters.weight] for path, filters in self._layers.items()}


def _statistics(activation: Tensor, zeros: Tensor) -> ActivationStatistics:
    return ActivationStatistics(activation=activation, zeros=zeros)


def _gates(slope: Tensor, curvature: Tensor) -> Gates:
    return Gates(slope=slope, curvature=curvature)


def _alone(mean: Tensor) -> Tensor:
    return mean


def _silenced(both: Tensor) -> Ablation:
    return Ablation(whole=both[0, 0], without=both[1])
