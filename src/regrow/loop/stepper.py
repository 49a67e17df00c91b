"""Stepper: what happens around one optimizer step, from the gradients to the renewed filters.

The walk: a watch's hook calls `gradients_ready`, where the recipe observes and decides; the optimizer steps; the hook
calls `step_made`, where young entries are corrected and the decision is carried out by `regrow.loop.renewing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from regrow.compose import Recipe
from regrow.criteria import LayerActivity, Observation, Signal
from regrow.decision import Decision, RecipeState, decide, forget, initial_state, observe
from regrow.graph import Streams
from regrow.graph.slices import rows
from regrow.history import Renewed, Report
from regrow.loop.activity.lookout import Lookout
from regrow.loop.activity.step_activity import StepActivity
from regrow.loop.drop.selecting import Choice
from regrow.loop.measure.calibration import Calibration
from regrow.loop.measure.probing import Probe
from regrow.loop.ranks import Ranks
from regrow.loop.renewing import Renewer
from regrow.loop.saving import STATE_VERSION, brought_up, check_saved
from regrow.loop.start.beginning import has_stepped
from regrow.loop.warner import Warner
from regrow.loop.watch import OptimizerWatch
from regrow.loop.working import Working
from regrow.renewal import Layer, Out
from regrow.schedule import Clock
from regrow.surgery import Companion


class Stepper:
    """One recipe at the steps of one training.

    Attributes:
        recipe: What to do.
        watches: The optimizers, in the order in which they step.
        lookout: Which passes are read, and what is said of them.
        report: What happened so far.
        hooked: Whether the optimizers' step hooks call it.

    Args:
        recipe: What to do.
        watches: The optimizers, in the order in which they step.
        model: The bare model.
        layers: The layers to watch.
        working: Which of them can be renewed at the moment.
        clock: The length of the training.
        seed: For the recipe's random numbers.
        streams: Filters that are renewed as one.
        companions: Copies of the model that are renewed with it.
        calibration: Runs the model on fixed inputs, for a renewal that keeps its output.
        probe: Measures filters on data, for a criterion that needs it.
        out: What is silent with filters that are dropped; for a recipe that drops.
        ranks: The processes that train the model together.
        dry_run: Change nothing.
        hooks: Act by the optimizers' step hooks.
        notes: What is left alone in this model, besides what the recipe says.
        activity: Reads the training's passes, for a criterion that asks for them.
        neighbours: By layer, those that it hears and those that hear it.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        watches: Sequence[OptimizerWatch],
        model: nn.Module,
        layers: Sequence[Layer],
        working: Working,
        clock: Clock,
        seed: int,
        streams: Streams | None = None,
        companions: Sequence[Companion] = (),
        calibration: Calibration | None = None,
        probe: Probe | None = None,
        out: Out | None = None,
        ranks: Ranks | None = None,
        dry_run: bool = False,
        hooks: bool = True,
        notes: Sequence[str] = (),
        activity: StepActivity | None = None,
        neighbours: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self.recipe = recipe
        self.watches = tuple(watches)
        self._layers = {layer.filters.path: layer for layer in layers}
        self._working = working
        where = f"recipe '{recipe.info.name}'"
        self._schedule = recipe.when.bind(clock, where=where)
        renewal = recipe.renew.bind(clock, where=where)
        self._seed = seed
        self._streams = streams
        self._ranks = ranks or Ranks()
        self._probe = probe
        self._renewer = Renewer(
            renewal,
            model=model,
            layers=self._layers,
            working=working,
            surgeons=[watch.surgeon for watch in watches if watch.surgeon is not None],
            companions=companions,
            calibration=calibration,
            out=out,
            dry_run=dry_run,
            reset_memory=recipe.reset_optimizer,
            leads=self._ranks.keeps_buffers,
        )
        self._select = Choice(
            recipe.select, resting=self._renewer.resting, streams=streams, out=out
        )
        self._counts = {path: layer.filters.count for path, layer in self._layers.items()}
        self._state = initial_state(recipe, self._counts)
        self._step = 0
        self._total = clock.total_steps
        self._loaded = False
        self._loss: float | None = None
        self._seen: dict[str, Observation] = {}
        self._pending: Decision | None = None
        own = [note for layer in layers for note in recipe.renew.left_alone(layer.filters)]
        self.report = Report(
            recipe=recipe.info.name, layers={}, notes=(*own, *self._renewer.notes, *notes)
        )
        self._list(working.now())
        self.hooked = hooks
        self._reads_gradients = Signal.GRADIENTS in recipe.criterion.needs
        self._reads_weights = Signal.WEIGHTS in recipe.criterion.needs
        self._warner = Warner(recipe.info.name, reads_gradients=self._reads_gradients, hooked=hooks)
        self.lookout = Lookout(
            recipe, activity=activity, neighbours=neighbours or {}, warner=self._warner
        )
        self._detached = False
        self._after: Callable[[Sequence[Renewed]], object] | None = None
        self._stepped: set[int] = set()
        self._ask_for_passes()

    def begin(self, after: Callable[[Sequence[Renewed]], object]) -> None:
        """Listen to the optimizers from here on.

        Args:
            after: Called after each step with its renewals, once everything is done and counted.
        """
        self._after = after
        for watch in self.watches if self.hooked else ():
            watch.listen(self)

    def _list(self, able: Set[str]) -> None:
        """Layers that take part in the training from now on are in the report from now on."""
        if not able <= self.report.layers.keys():
            known = self.report.layers.keys() | able
            self.report.layers = {
                path: count for path, count in self._counts.items() if path in known
            }

    # ---- inside one optimizer step

    def gradients_ready(self, watch: OptimizerWatch, *, early: bool = True) -> None:
        """An optimizer is about to step: read what the recipe needs of it; with the last one, decide.

        Args:
            watch: The optimizer.
            early: Whether its step is still to come; a loop without hooks may call this behind it.
        """
        started = time.perf_counter()
        if self._step == 0 and early and not self._loaded and has_stepped(watch.optimizer):
            self._warner.forgotten(type(watch.optimizer).__name__)
        if self._step == self._total:
            self._warner.past_the_end(self._step)
        due = self._schedule.due(self._step) and not self._renewer.resting
        last = self._schedule.last_step
        watching = self.recipe.criterion.every_step and (last is None or self._step <= last)
        if id(watch) in self._stepped and id(self.watches[-1]) not in self._stepped:
            self._warner.order(
                step=self._step, stepped=len(self._stepped), optimizers=len(self.watches)
            )
        self._stepped.add(id(watch))
        self._pending = None
        if not watch.skips():
            if self._renewer.resting:
                silence, tensors = self._renewer.resting.silence, self._renewer.tensors
                if early and watch is self.watches[0]:
                    self._warner.disturbed(silence.disturbed(tensors), step=self._step)
                silence.freeze(tensors)
            if watch.surgeon is not None:
                watch.surgeon.before_step()
            if due or watching:
                self._look(watch)
            if watch is self.watches[-1]:
                self._weigh(due=due, watching=watching, shown=self.lookout.shown())
        self.report.seconds += time.perf_counter() - started

    def _look(self, watch: OptimizerWatch) -> None:
        """One observation for every layer whose weight this optimizer trains now."""
        scale, mine = watch.gradient_scale, self._working.trained.by(watch.optimizer)
        for path, layer in self._layers.items():
            filters = layer.filters
            if filters.weight not in mine:
                continue
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

    def _weigh(self, *, due: bool, watching: bool, shown: Mapping[str, LayerActivity]) -> None:
        """All optimizers have shown their gradients: remember, and decide if a decision is due."""
        if not (due or watching or shown):
            return
        found, self._seen = self._seen, {}
        able = self._working.now()
        self._list(able)
        shown = {path: each for path, each in shown.items() if path in able}
        seen = {
            path: found[path]
            if path in found
            else Observation(count=layer.filters.count, groups=layer.filters.groups)
            for path, layer in self._layers.items()
            if path in able and (due or watching or path in shown)
        }
        if shown:
            seen.update((path, replace(seen[path], activity=each)) for path, each in shown.items())
        if due and self._probe is not None:
            seen = self._probe.complete(seen)
        with torch.no_grad():
            left = [path for path, own in self._state.criteria.items() if own and path not in able]
            self._state = observe(self.recipe, forget(self._state, left), seen)
            if not due and not (shown and self.lookout.decides):
                return
            if due and seen and all(one.grad is None for one in seen.values()):
                self._warner.no_gradient(step=self._step)
            gated = self.recipe.min_loss is not None
            self._state, self._pending = decide(
                self.recipe,
                self._state,
                step=self._step,
                seed=self._seed,
                loss=self._ranks.mean_loss(self._loss) if gated else None,
                streams=self._streams,
                select=self._select,
                due=due,
                layers=able,
            )
        self.report.checks += due
        self._state = self.lookout.noted(self._state, shown, report=self.report)

    def step_made(self, watch: OptimizerWatch) -> None:
        """An optimizer has stepped: correct its young entries; after the last one, renew what was decided.

        Args:
            watch: The optimizer.
        """
        started = time.perf_counter()
        if watch.skips():
            if watch is self.watches[-1]:
                self._pending = self._loss = None
            return
        if watch.surgeon is not None:
            watch.surgeon.after_step()
        if watch is not self.watches[-1]:
            return
        decision, self._pending, self._loss = self._pending, None, None
        self._warner.order(
            step=self._step, stepped=len(self._stepped), optimizers=len(self.watches)
        )
        self._renewer.counted.after_step()
        if self._renewer.resting:
            self._renewer.resting.silence.settle(self._renewer.tensors)
        events = self._carry_out(decision)
        step, self._step = self._step, self._step + 1
        self.report.steps = self._step
        self._ask_for_passes()
        self.report.seconds += time.perf_counter() - started
        # From here on the user's code may raise: all is done and counted.
        self.lookout.note_size(decision, step=step, report=self.report)
        if decision is not None and decision.nonfinite:
            first, found = self.report.nonfinite == 0, decision.nonfinite
            self.report.nonfinite += sum(found.values())
            if first:
                self._warner.nonfinite(found, step=step)
        if self._after is not None:
            self._after(events)

    def _carry_out(self, decision: Decision | None) -> list[Renewed]:
        """Renew, or drop, what was decided; or bring back what is out, if it is time."""
        events: list[Renewed] = []
        if decision is not None and decision.masks:
            if self.recipe.drop:
                self._renewer.drop(decision, step=self._step)
            else:
                events = self._renewer.renew(decision, seed=self._seed, step=self._step)
        elif self._renewer.resting and self._schedule.ends(self._step):
            events = self._renewer.bring_back(seed=self._seed, step=self._step)
        self.report.events.extend(events)
        if self.recipe.drop:
            self._note_resting()
        return events

    def _ask_for_passes(self) -> None:
        """Say which passes are to be read in the coming step."""
        last = self._schedule.last_step
        over = self._detached or (last is not None and self._step > last)
        self.lookout.ask(self._state, step=self._step, over=over, able=self._working.now)

    def _note_resting(self) -> None:
        resting = self._renewer.resting
        self.report.resting, self.report.bound = resting.filters, dict(resting.bound)
        self.report.resting_since = resting.since if resting else None

    def tell(self, *, loss: Tensor | float) -> None:
        """The training loss of the coming step, for recipes with ``min_loss``; of several ranks their mean counts.

        Args:
            loss: A number or a tensor with one element.
        """
        if self.recipe.min_loss is not None:
            self._loss = float(loss.detach() if isinstance(loss, Tensor) else loss)

    def bring_back(self) -> tuple[Renewed, ...]:
        """Renew the filters that are out of the network now, between two steps.

        Returns:
            One event a layer; none where the network is whole.
        """
        resting = self._renewer.resting
        if not resting:
            return ()
        events = self._renewer.bring_back(seed=self._seed, step=self._step - 1)
        self.report.events.extend(events)
        self._note_resting()
        return tuple(events)

    def leave(self) -> None:
        """Stop acting; the optimizers' hooks are the caller's to take out."""
        already, self._detached = self._detached, True
        self.lookout.leave()
        if self._renewer.let_go() and not already:
            count = sum(len(filters) for filters in self.report.resting.values())
            self._warner.left_out(count)

    @property
    def left(self) -> bool:
        """Whether `leave` was called."""
        return self._detached

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on bit for bit; loadable with ``weights_only=True``."""
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
            "resting": self._renewer.resting.state_dict(self._renewer.tensors),
            "fresh": dict(self._renewer.fresh),
            "counted": self._renewer.counted.state_dict(),
            "started_at_zero": sorted(self.lookout.started_at_zero),
            "report": self.report.saved(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume: all of it is looked at before anything is changed. See `Regrower.load_state_dict`.

        Args:
            state: What `state_dict` gave.
        """
        state = brought_up(state)
        check_saved(state, self.state_dict())
        for watch, memory in zip(self.watches, state["optimizers"], strict=True):
            if watch.surgeon is not None and memory is not None:
                watch.surgeon.check_state(memory)
        self._renewer.check_resting(state["resting"])
        self._renewer.counted.check_state(state["counted"])
        born = {path: state["born"][path].tolist() for path in self._layers}
        out = {path: mask.tolist() for path, mask in state["resting"]["masks"].items()}
        self._ranks.check_same(
            {"step": int(state["step"]), "born": born, "resting": out}, where="load_state_dict"
        )
        for watch, memory in zip(self.watches, state["optimizers"], strict=True):
            if watch.surgeon is not None and memory is not None:
                watch.surgeon.load_state_dict(memory)
        self._renewer.load_resting(state["resting"])
        self._loaded = True
        self._step = int(state["step"])
        self._state = RecipeState(
            criteria={
                path: {
                    key: value.to(self._renewer.tensors[layer.filters.weight].device)
                    if isinstance(value, Tensor)
                    else value
                    for key, value in state["criteria"][path].items()
                }
                for path, layer in self._layers.items()
            },
            born={path: state["born"][path].to("cpu") for path in self._layers},
        )
        self._renewer.load_fresh(state["fresh"])
        self._renewer.counted.load_state_dict(state["counted"])
        self.report.restore(state["report"], steps=self._step)
        self._list(self._working.now() | {event.layer for event in self.report.events})
        self._note_resting()
        self.lookout.forget(self._state, state["started_at_zero"], report=self.report)
        self._ask_for_passes()
