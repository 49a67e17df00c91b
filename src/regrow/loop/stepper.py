"""Stepper: what happens around one optimizer step, from the gradients to the renewed filters.

The walk: a watch's hook calls `gradients_ready`, where the recipe observes and decides; the optimizer steps; the hook
calls `step_made`, where young entries are corrected and `regrow.loop.renewer` carries out what was decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from regrow.compose import Recipe
from regrow.criteria import LayerActivity, Observation, Signal
from regrow.decision import Decision, RecipeState, decide, forget, initial_state, observe
from regrow.graph import Streams
from regrow.graph.slices import rows
from regrow.history import Renewed, Report
from regrow.loop.activity.lookout import Lookout
from regrow.loop.drop import Choice, DropPhase
from regrow.loop.measure.outgoing import OutgoingSizes
from regrow.loop.measure.probe import Probe
from regrow.loop.network import NetworkChange
from regrow.loop.optimizers import OptimizerWatch, WorkingLayers
from regrow.loop.order import StepOrder
from regrow.loop.protection import Protection
from regrow.loop.ranks import Ranks
from regrow.loop.renewer import Renewer, large_share
from regrow.loop.warner import Warner
from regrow.renewal import Layer
from regrow.schedule import BoundSchedule


@dataclass(eq=False, repr=False, kw_only=True)
class Stepper:
    """One recipe at the steps of one training.

    What only some need is chosen by `regrow.loop.assembly`, once: a drop phase, passes that are read, a protection,
    several optimizers. `regrow.loop.saved_state` saves it and loads it.
    """

    recipe: Recipe  # what to do
    schedule: BoundSchedule  # when
    watches: tuple[OptimizerWatch, ...]  # the optimizers, in the order in which they step
    layers: Mapping[str, Layer]  # the layers that may be renewed, by path
    working: WorkingLayers  # which of them take part in the training now
    renewer: Renewer  # carries a decision out
    drop: DropPhase  # keeps filters out of the network, for a recipe that drops
    choice: Choice  # the recipe's selection, told what is out of the network
    seed: int  # for all random numbers
    total_steps: int | None  # optimizer steps of the whole training, if that is known
    streams: Streams | None  # filters that are renewed as one, if there are any
    # Measures filters on calibration data; None where the criterion does not ask.
    probe: Probe | None
    # Which passes are read, and what is said of them; None where the criterion does not ask.
    lookout: Lookout | None
    ranks: Ranks  # the processes that train the model together
    warner: Warner  # tells the user
    hooked: bool  # the optimizers' hooks call it, and not the user's loop
    notes: tuple[str, ...]  # what the report is to say from the start
    protection: Protection | None  # the recipe's guard and gain check; None where it has none
    # Changes the whole network at once; None where the recipe does not.
    network: NetworkChange | None
    # Called with each renewal, once all of its step are made and counted; `calling` while they are.
    callbacks: list[Callable[[Renewed], object]] = field(
        init=False, default_factory=list[Callable[[Renewed], object]]
    )
    calling: bool = field(init=False, default=False)
    step: int = field(init=False, default=0)  # number of the coming step
    # Number of the first step behind the last boundary; -1 where none was told.
    boundary_at: int = field(init=False, default=-1)
    left: bool = field(init=False, default=False)  # whether `leave` was called
    _loaded: bool = field(init=False, default=False)
    _loss: float | None = field(init=False, default=None)
    _seen: dict[str, Observation] = field(init=False, default_factory=dict[str, Observation])
    _pending: Decision | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Ask once what is the same in every step, and listen."""
        criterion = self.recipe.criterion
        self.newest = self.renewer.newest
        self._absent, self._last_step = self.drop.absent, self.schedule.last_step
        self._every_step = criterion.every_step
        self._reads_gradients = Signal.GRADIENTS in criterion.needs
        self._reads_weights = Signal.WEIGHTS in criterion.needs
        self._outgoing = OutgoingSizes.asked_by(criterion, self.layers)
        self.counts = {path: layer.filters.count for path, layer in self.layers.items()}
        self.state = initial_state(self.recipe, self.counts)  # what the recipe remembers
        self.report = Report(recipe=self.recipe.info.name, layers={}, notes=self.notes)
        self._list(self.working.now())
        self._ask_for_passes()
        listener = self if len(self.watches) == 1 else StepOrder(self, self.watches, self.warner)
        for watch in self.watches if self.hooked else ():
            watch.listen(listener)

    def _list(self, able: Set[str]) -> None:
        """Layers that take part in the training from now on are in the report from now on."""
        if not able <= self.report.layers.keys():
            known = self.report.layers.keys() | able
            self.report.layers = {
                path: count for path, count in self.counts.items() if path in known
            }

    # ---- before the optimizer moves

    def gradients_ready(self, watch: OptimizerWatch, *, early: bool = True) -> None:
        """An optimizer is about to step: read what the recipe needs of it; with the last one, decide.

        `early`: its step is still to come; a loop without hooks may call this behind it.
        """
        started = time.perf_counter()
        if self.step == 0 and early and not self._loaded and watch.has_stepped:
            self.warner.forgotten(type(watch.optimizer).__name__)
        if self.step == self.total_steps:
            self.warner.past_the_end(self.step)
        # A decision belongs to one step: of one that was broken off by an error nothing must be carried out later.
        self._pending = None
        protection = self.protection
        if not watch.skips() and (protection is None or not early or protection.before_(watch)):
            if self._absent.masks:
                self.drop.before_step(self.step, look=early and watch is self.watches[0])
            if watch.surgeon is not None and watch.surgeon.young:
                watch.surgeon.before_step()
            self._observe(watch)
        self.report.seconds += time.perf_counter() - started

    def _observe(self, watch: OptimizerWatch) -> None:
        """Look at the layers that this optimizer trains; behind the last optimizer, remember and decide."""
        step, last = self.step, watch is self.watches[-1]
        # While filters are out none is chosen: at 0 they would have the lowest scores again.
        due = step in self.schedule.steps and not self._absent.masks
        watching = self._every_step and (self._last_step is None or step <= self._last_step)
        shown = self.lookout.shown() if last and self.lookout is not None else {}
        if not (due or watching or shown):
            return
        able = self.working.now()
        if due or watching:
            mine = able if len(self.watches) == 1 else self._trained_by(watch)
            self._look(mine, scale=watch.gradient_scale)
        if last:
            self._weigh(able, due=due, watching=watching, shown=shown)

    def _trained_by(self, watch: OptimizerWatch) -> set[str]:
        """The layers whose weight one of several optimizers trains now."""
        weights = self.working.trained.by(watch.optimizer)
        return {path for path, layer in self.layers.items() if layer.filters.weight in weights}

    def _look(self, paths: Set[str], *, scale: Tensor | None) -> None:
        """One observation for each of these layers; `scale`: what their gradients are still multiplied by."""
        for path, layer in self.layers.items():
            if path not in paths:
                continue
            filters = layer.filters
            parameter = self.renewer.tensors[filters.weight]
            grad = parameter.grad if self._reads_gradients else None
            if grad is not None and scale is not None:
                grad = grad / scale
            self._seen[path] = Observation(
                count=filters.count,
                groups=filters.groups,
                weight=rows(parameter.detach(), filters) if self._reads_weights else None,
                grad=None if grad is None else rows(grad, filters),
                outgoing=self._outgoing and self._outgoing.of(path, self.renewer.tensors),
            )

    def _weigh(
        self, able: Set[str], *, due: bool, watching: bool, shown: Mapping[str, LayerActivity]
    ) -> None:
        """All optimizers have shown their gradients: remember, and decide if a decision is due."""
        found, self._seen = self._seen, {}
        self._list(able)
        seen: dict[str, Observation] = {}
        for path, layer in self.layers.items():
            activity = shown.get(path)
            if path not in able or not (due or watching or activity is not None):
                continue
            if path not in found:
                filters = layer.filters
                found[path] = Observation(count=filters.count, groups=filters.groups)
            one = found[path]
            seen[path] = one if activity is None else replace(one, activity=activity)
        shown = {path: each for path, each in shown.items() if path in able}
        if due and self.probe is not None:
            seen = self.probe.complete(seen, step=self.step)
        decides = self.lookout is not None and bool(shown) and self.lookout.decides
        with torch.no_grad():
            left = self.state.criteria.keys() - able
            if left:
                self.state = forget(self.state, left)
            self.state = observe(self.recipe, self.state, seen)
            if due or decides:
                self._decide(able, seen, due=due)
        if due or decides:
            self.report.checks += due
            if self.lookout is not None:
                self.state = self.lookout.noted(self.state, shown, report=self.report)

    def _decide(self, able: Set[str], seen: Mapping[str, Observation], *, due: bool) -> None:
        if due and seen and not [True for one in seen.values() if one.grad is not None]:
            self.warner.no_gradient(step=self.step)
        self.state, self._pending = decide(
            self.recipe,
            self.state,
            step=self.step,
            seed=self.seed,
            loss=None if self.recipe.min_loss is None else self.ranks.mean_loss(self._loss),
            streams=self.streams,
            select=self.choice if self.recipe.drop or self.choice.absent else None,
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
        # Young entries first: a guard is to measure the step that they make in the end.
        if watch.surgeon is not None and watch.surgeon.young:
            watch.surgeon.after_step()
        if protection is not None:
            protection.after_(watch, self.report)
        if not last:
            return
        decision, self._pending, self._loss = self._pending, None, None
        # Before anything is renewed: what is entered as young then counts from this step's averages on.
        if self.renewer.counted.young:
            self.renewer.counted.after_step()
        if self._absent.masks:
            self.drop.after_step()
        if self.network is not None:
            self.network.step_made_(self.step, self.report)
        events: list[Renewed] = []
        if (decision is not None and decision.masks) or self._absent.masks:
            events = self._carry_out(decision)
        self.report.events.extend(events)
        self.step += 1
        self.report.steps = self.step
        self._ask_for_passes()
        self.report.seconds += time.perf_counter() - started
        # From here on the user's code may raise: all is done and counted.
        if decision is not None and (decision.masks or decision.nonfinite):
            self._say_how_much(decision, step=self.step - 1)
        if events and (self.callbacks or self.newest):
            self.call_back(events)

    def _carry_out(self, decision: Decision | None) -> list[Renewed]:
        """Renew, or drop, what was decided; or bring back what is out, if it is time."""
        events: list[Renewed] = []
        if decision is not None and decision.masks:
            if self.recipe.drop:
                self.drop.drop(decision, step=self.step)
                self.drop.note(self.report)
            else:
                events = self.renewer.renew(decision, seed=self.seed, step=self.step)
        elif self._absent.masks and self.step + 1 not in self.schedule.reduced:
            events = self.drop.bring_back(seed=self.seed, step=self.step)
            self.drop.note(self.report)
        return events

    def _ask_for_passes(self) -> None:
        """Say which passes are to be read in the coming step."""
        last, lookout = self._last_step, self.lookout
        over = self.left or (last is not None and self.step > last)
        if lookout is not None:
            lookout.ask(self.state, step=self.step, over=over, able=self.working.now)
        if self.newest is not None:
            shows = lookout is not None and lookout.decides
            may = (
                bool(lookout.activity.asked)
                if lookout and shows
                else self.step in self.schedule.steps
            )
            self.newest.ask(wanted=bool(self._absent.masks) or (may and not over))

    def _say_how_much(self, decision: Decision, *, step: int) -> None:
        """One decision that takes much is said, and scores that are no numbers are."""
        much = "" if self.recipe.select.quota else large_share(decision, self.report.layers)
        if much:
            text = f"step {step} renews {much}"
            self.report.large = (*self.report.large, text)
            self.warner.large(text)
        if decision.nonfinite:
            first = self.report.nonfinite == 0
            self.report.nonfinite += sum(decision.nonfinite.values())
            if first:
                self.warner.nonfinite(decision.nonfinite, step=step)

    def call_back(self, events: Sequence[Renewed]) -> None:
        """Tell the user's functions of some renewals, and the user what lacked in them."""
        if self.newest is not None:
            self.report.notes = self.newest.told(self.report.notes)
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

    def boundary(self) -> None:
        """The task changes between two steps."""
        started = time.perf_counter()
        if self.recipe.when.at_boundaries or (self.network and self.network.at_boundaries):
            told = {"step": self.step, "boundaries told": self.report.boundaries}
            self.ranks.check_same(told, where="boundary")
        self.report.boundaries += 1
        self._tell_boundary()
        if self.network is not None:
            self.network.boundary_(self.report)
        self.report.seconds += time.perf_counter() - started

    def _tell_boundary(self) -> None:
        self.boundary_at = self.step
        self.schedule.told.clear()
        self.schedule.told.add(self.step)
        self._ask_for_passes()

    def bring_back(self) -> tuple[Renewed, ...]:
        """Renew the filters that are out of the network now, between two steps; one event a layer."""
        if not self._absent.masks:
            return ()
        events = self.drop.bring_back(seed=self.seed, step=self.step - 1)
        self.report.events.extend(events)
        self.drop.note(self.report)
        return tuple(events)

    def leave(self) -> None:
        """Stop acting; the optimizers' hooks are the caller's to take out."""
        already, self.left = self.left, True
        if self.newest is not None:
            self.newest.leave()
        if self.lookout is not None:
            self.lookout.activity.leave()
        if self.protection is not None:
            self.protection.leave()
        if self.drop.leave() and not already:
            count = sum(len(filters) for filters in self.report.resting.values())
            self.warner.left_out(count)

    def resume(
        self, state: RecipeState, *, step: int, zeros: Iterable[str], at_boundary: bool
    ) -> None:
        """Go on from another time, whose optimizers, filters and report are there already.

        `zeros`: parameters that were nothing but zeros before training. `at_boundary`: a boundary was told since the
        last step.
        """
        self._loaded, self.step, self.state = True, step, state
        self._list(self.working.now() | {event.layer for event in self.report.events})
        self.drop.note(self.report)
        if self.lookout is not None:
            self.lookout.forget(state, zeros, report=self.report)
        self.boundary_at = -1
        self.schedule.told.clear()
        if at_boundary:
            self._tell_boundary()
        self._ask_for_passes()
