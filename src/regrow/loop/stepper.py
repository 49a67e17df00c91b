"""Stepper: what happens around one optimizer step, from the gradients to the renewed filters.

The walk: a watch's hook calls `gradients_ready`, where the recipe observes and decides; the optimizer steps; the hook
calls `step_made`, where young entries are corrected and `regrow.loop.renewer` carries out what was decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from regrow.compose import Recipe
from regrow.criteria import LayerActivity, Observation, Signal
from regrow.decision import Decision, decide, forget, initial_state, observe
from regrow.graph import Streams
from regrow.graph.slices import rows
from regrow.history import Renewed, Report
from regrow.loop.activity.lookout import Lookout
from regrow.loop.drop import Choice, DropPhase
from regrow.loop.measure.probe import Probe
from regrow.loop.order import StepOrder
from regrow.loop.protection import Protection
from regrow.loop.ranks import Ranks
from regrow.loop.renewer import Renewer, large_share
from regrow.loop.saved_state import STATE_VERSION, brought_up, check_saved, recipe_state
from regrow.loop.trained import WorkingLayers
from regrow.loop.warner import Warner
from regrow.loop.watch import OptimizerWatch
from regrow.renewal import Layer
from regrow.schedule import BoundSchedule


class Stepper:
    """One recipe at the steps of one training.

    What only some need is chosen here, once: a drop phase, passes that are read (`lookout`), several optimizers.

    Attributes:
        watches: The optimizers, in the order in which they step.
        lookout: Which passes are read, and what is said of them; None where the criterion does not ask.
        report: What happened so far.
        callbacks: Called with each renewal, once all of its step are made and counted; `calling` while they are.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        schedule: BoundSchedule,
        watches: Sequence[OptimizerWatch],
        layers: Mapping[str, Layer],
        working: WorkingLayers,
        renewer: Renewer,
        drop: DropPhase,
        choice: Choice,
        seed: int,
        total_steps: int | None,
        streams: Streams | None,
        probe: Probe | None,
        lookout: Lookout | None,
        ranks: Ranks,
        warner: Warner,
        hooks: bool,
        notes: Sequence[str],
        protection: Protection | None,
    ) -> None:
        self.recipe = recipe
        self.watches = tuple(watches)
        self.lookout = lookout
        self.hooked = hooks
        self.callbacks: list[Callable[[Renewed], object]] = []
        self.calling = False
        self._schedule, self._last_step = schedule, schedule.last_step
        self._layers = dict(layers)
        self._working, self._renewer = working, renewer
        self._drop, self._absent = drop, drop.absent
        self._choice = choice
        self.protection, self.newest = protection, renewer.newest
        self._seed, self._total = seed, total_steps
        self._streams, self._probe = streams, probe
        self._ranks, self._warner = ranks, warner
        self._every_step = recipe.criterion.every_step
        self._reads_gradients = Signal.GRADIENTS in recipe.criterion.needs
        self._reads_weights = Signal.WEIGHTS in recipe.criterion.needs
        self._counts = {path: layer.filters.count for path, layer in layers.items()}
        self._state = initial_state(recipe, self._counts)
        self._step = 0
        self._loaded = self._detached = False
        self._loss: float | None = None
        self._seen: dict[str, Observation] = {}
        self._pending: Decision | None = None
        self.report = Report(recipe=recipe.info.name, layers={}, notes=tuple(notes))
        self._list(working.now())
        self._ask_for_passes()
        listener = self if len(self.watches) == 1 else StepOrder(self, self.watches, warner)
        for watch in self.watches if hooks else ():
            watch.listen(listener)

    def _list(self, able: Set[str]) -> None:
        """Layers that take part in the training from now on are in the report from now on."""
        if not able <= self.report.layers.keys():
            known = self.report.layers.keys() | able
            self.report.layers = {
                path: count for path, count in self._counts.items() if path in known
            }

    # ---- before the optimizer moves

    def gradients_ready(self, watch: OptimizerWatch, *, early: bool = True) -> None:
        """An optimizer is about to step: read what the recipe needs of it; with the last one, decide.

        `early`: its step is still to come; a loop without hooks may call this behind it.
        """
        started = time.perf_counter()
        if self._step == 0 and early and not self._loaded and watch.has_stepped:
            self._warner.forgotten(type(watch.optimizer).__name__)
        if self._step == self._total:
            self._warner.past_the_end(self._step)
        self._pending = None
        protection = self.protection
        if not watch.skips() and (protection is None or not early or protection.before_(watch)):
            if self._absent.masks:
                self._drop.before_step(self._step, look=early and watch is self.watches[0])
            if watch.surgeon is not None and watch.surgeon.young:
                watch.surgeon.before_step()
            self._observe(watch)
        self.report.seconds += time.perf_counter() - started

    def _observe(self, watch: OptimizerWatch) -> None:
        """Look at the layers that this optimizer trains; behind the last optimizer, remember and decide."""
        step, last = self._step, watch is self.watches[-1]
        due = self._schedule.due(step) and not self._absent.masks
        watching = self._every_step and (self._last_step is None or step <= self._last_step)
        shown = self.lookout.shown() if last and self.lookout is not None else {}
        if not (due or watching or shown):
            return
        able = self._working.now()
        if due or watching:
            mine = able if len(self.watches) == 1 else self._trained_by(watch)
            self._look(mine, scale=watch.gradient_scale)
        if last:
            self._weigh(able, due=due, watching=watching, shown=shown)

    def _trained_by(self, watch: OptimizerWatch) -> set[str]:
        """The layers whose weight one of several optimizers trains now."""
        weights = self._working.trained.by(watch.optimizer)
        return {path for path, layer in self._layers.items() if layer.filters.weight in weights}

    def _look(self, paths: Set[str], *, scale: Tensor | None) -> None:
        """One observation for each of these layers; `scale`: what their gradients are still multiplied by."""
        for path, layer in self._layers.items():
            if path not in paths:
                continue
            filters = layer.filters
            parameter = self._renewer.tensors[filters.weight]
            grad = parameter.grad if self._reads_gradients else None
            if grad is not None and scale is not None:
                grad = grad / scale
            self._seen[path] = Observation(
                count=filters.count,
                groups=filters.groups,
                weight=rows(parameter.detach(), filters) if self._reads_weights else None,
                grad=None if grad is None else rows(grad, filters),
            )

    def _weigh(
        self, able: Set[str], *, due: bool, watching: bool, shown: Mapping[str, LayerActivity]
    ) -> None:
        """All optimizers have shown their gradients: remember, and decide if a decision is due."""
        found, self._seen = self._seen, {}
        self._list(able)
        seen: dict[str, Observation] = {}
        for path, layer in self._layers.items():
            activity = shown.get(path)
            if path not in able or not (due or watching or activity is not None):
                continue
            if path not in found:
                filters = layer.filters
                found[path] = Observation(count=filters.count, groups=filters.groups)
            one = found[path]
            seen[path] = one if activity is None else replace(one, activity=activity)
        shown = {path: each for path, each in shown.items() if path in able}
        if due and self._probe is not None:
            seen = self._probe.complete(seen, step=self._step)
        decides = self.lookout is not None and bool(shown) and self.lookout.decides
        with torch.no_grad():
            left = self._state.criteria.keys() - able
            if left:
                self._state = forget(self._state, left)
            self._state = observe(self.recipe, self._state, seen)
            if due or decides:
                self._decide(able, seen, due=due)
        if due or decides:
            self.report.checks += due
            if self.lookout is not None:
                self._state = self.lookout.noted(self._state, shown, report=self.report)

    def _decide(self, able: Set[str], seen: Mapping[str, Observation], *, due: bool) -> None:
        if due and seen and not [True for one in seen.values() if one.grad is not None]:
            self._warner.no_gradient(step=self._step)
        self._state, self._pending = decide(
            self.recipe,
            self._state,
            step=self._step,
            seed=self._seed,
            loss=None if self.recipe.min_loss is None else self._ranks.mean_loss(self._loss),
            streams=self._streams,
            select=self._choice if self.recipe.drop or self._choice.absent else None,
            due=due,
            layers=able,
        )

    # ---- when it has moved

    def step_made(self, watch: OptimizerWatch) -> None:
        """An optimizer has stepped: correct its young entries; after the last one, renew what was decided."""
        started, last = time.perf_counter(), watch is self.watches[-1]
        protection = self.protection
        if watch.skips() or (protection is not None and protection.refused_(watch, self.report)):
            if last:
                self._pending = self._loss = None
            return
        if watch.surgeon is not None and watch.surgeon.young:
            watch.surgeon.after_step()
        if protection is not None:
            protection.after_(watch, self.report)
        if not last:
            return
        decision, self._pending, self._loss = self._pending, None, None
        if self._renewer.counted.young:
            self._renewer.counted.after_step()
        if self._absent.masks:
            self._drop.after_step()
        events: list[Renewed] = []
        if (decision is not None and decision.masks) or self._absent.masks:
            events = self._carry_out(decision)
        self.report.events.extend(events)
        self._step += 1
        self.report.steps = self._step
        self._ask_for_passes()
        self.report.seconds += time.perf_counter() - started
        # From here on the user's code may raise: all is done and counted.
        if decision is not None and (decision.masks or decision.nonfinite):
            self._say_how_much(decision, step=self._step - 1)
        if events and (self.callbacks or self.newest):
            self.call_back(events)

    def _carry_out(self, decision: Decision | None) -> list[Renewed]:
        """Renew, or drop, what was decided; or bring back what is out, if it is time."""
        events: list[Renewed] = []
        if decision is not None and decision.masks:
            if self.recipe.drop:
                self._drop.drop(decision, step=self._step)
                self._note_absent()
            else:
                events = self._renewer.renew(decision, seed=self._seed, step=self._step)
        elif self._absent.masks and self._schedule.ends(self._step):
            events = self._drop.bring_back(seed=self._seed, step=self._step)
            self._note_absent()
        return events

    def _note_absent(self) -> None:
        absent, report = self._absent, self.report
        report.resting, report.bound = absent.filters, dict(absent.bound)
        report.resting_since = absent.since if absent.masks else None

    def _ask_for_passes(self) -> None:
        """Say which passes are to be read in the coming step."""
        last, lookout = self._last_step, self.lookout
        over = self._detached or (last is not None and self._step > last)
        if lookout is not None:
            lookout.ask(self._state, step=self._step, over=over, able=self._working.now)
        if self.newest is not None:
            shows = lookout is not None and lookout.decides
            may = bool(lookout.asked) if lookout and shows else self._schedule.due(self._step)
            self.newest.ask(wanted=bool(self._absent.masks) or (may and not over))

    def _say_how_much(self, decision: Decision, *, step: int) -> None:
        """One decision that takes much is said, and scores that are no numbers are."""
        much = "" if self.recipe.select.quota else large_share(decision, self.report.layers)
        if much:
            text = f"step {step} renews {much}"
            self.report.large = (*self.report.large, text)
            self._warner.large(text)
        if decision.nonfinite:
            first = self.report.nonfinite == 0
            self.report.nonfinite += sum(decision.nonfinite.values())
            if first:
                self._warner.nonfinite(decision.nonfinite, step=step)

    def call_back(self, events: Sequence[Renewed]) -> None:
        """Tell the user's functions of some renewals, and the user what lacked in them."""
        self.report.notes = self._renewer.noted(self.report.notes)
        self.calling = True
        try:
            for event in events:
                for callback in self.callbacks:
                    callback(event)
        finally:
            self.calling = False

    # ---- what the user asks for

    def tell(self, *, loss: Tensor | float) -> None:
        """The training loss of the coming step, for recipes with ``min_loss``; of several ranks their mean counts."""
        if self.recipe.min_loss is not None:
            self._loss = float(loss.detach() if isinstance(loss, Tensor) else loss)

    def bring_back(self) -> tuple[Renewed, ...]:
        """Renew the filters that are out of the network now, between two steps; one event a layer."""
        if not self._absent.masks:
            return ()
        events = self._drop.bring_back(seed=self._seed, step=self._step - 1)
        self.report.events.extend(events)
        self._note_absent()
        return tuple(events)

    def leave(self) -> None:
        """Stop acting; the optimizers' hooks are the caller's to take out."""
        already, self._detached = self._detached, True
        self._renewer.leave()
        if self.lookout is not None:
            self.lookout.leave()
        if self.protection is not None:
            self.protection.leave()
        if self._drop.leave() and not already:
            count = sum(len(filters) for filters in self.report.resting.values())
            self._warner.left_out(count)

    @property
    def left(self) -> bool:
        """Whether `leave` was called."""
        return self._detached

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to resume bit for bit; loadable with ``weights_only=True``."""
        resets = self.recipe.reset_optimizer
        surgeons = [watch.surgeon if resets else None for watch in self.watches]
        return {
            "version": STATE_VERSION,
            "recipe": self.recipe.info.name,
            "layers": dict(self._counts),
            "seed": self._seed,
            "step": self._step,
            "born": dict(self._state.born),
            "criteria": {layer: dict(state) for layer, state in self._state.criteria.items()},
            "optimizers": [None if each is None else each.state_dict() for each in surgeons],
            "resting": self._drop.state_dict(),
            **self._renewer.state_dict(),
            "started_at_zero": [] if self.lookout is None else sorted(self.lookout.started_at_zero),
            "report": self.report.saved(),
            **(
                {}
                if self.protection is None
                else {"guard": self.protection.state_dict(self.report)}
            ),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume: all of it is looked at before anything is changed. See `Regrower.load_state_dict`."""
        state = brought_up(state)
        check_saved(state, self.state_dict())
        saved = [
            (watch.surgeon, own)
            for watch, own in zip(self.watches, state["optimizers"], strict=True)
            if watch.surgeon is not None and own is not None
        ]
        for surgeon, own in saved:
            surgeon.check_state(own)
        self._drop.check_state(state["resting"], self._counts)
        self._renewer.check_state(state)
        born = {path: state["born"][path].tolist() for path in self._layers}
        out = {path: mask.tolist() for path, mask in state["resting"]["masks"].items()}
        self._ranks.check_same(
            {"step": int(state["step"]), "born": born, "resting": out}, where="load_state_dict"
        )
        for surgeon, own in saved:
            surgeon.load_state_dict(own)
        self._drop.load_state_dict(state["resting"])
        self._loaded = True
        self._step = int(state["step"])
        devices = {
            path: self._renewer.tensors[layer.filters.weight].device
            for path, layer in self._layers.items()
        }
        self._state = recipe_state(state, devices)
        self._renewer.load_state_dict(state)
        self.report.restore(state["report"], steps=self._step)
        if self.protection is not None:
            self.protection.load_state_dict(state["guard"], self.report)
        self._list(self._working.now() | {event.layer for event in self.report.events})
        self._note_absent()
        if self.lookout is not None:
            self.lookout.forget(self._state, state["started_at_zero"], report=self.report)
        self._ask_for_passes()
