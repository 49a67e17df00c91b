"""Regrower: a recipe that watches one model and its optimizers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.compose import Decision, Recipe, RecipeState
from regrow.criteria import LayerActivity, Observation, Signal
from regrow.errors import ConfigError
from regrow.graph import Streams
from regrow.graph.slices import rows
from regrow.history import Renewed, Report
from regrow.loop.activity import StepActivity
from regrow.loop.beginning import has_stepped
from regrow.loop.calibration import Calibration
from regrow.loop.detached import Detached
from regrow.loop.lookout import Lookout
from regrow.loop.probing import Probe
from regrow.loop.ranks import Ranks
from regrow.loop.renewing import Renewer
from regrow.loop.saving import STATE_VERSION, brought_up, check_saved
from regrow.loop.selecting import Choice
from regrow.loop.warner import Warner
from regrow.loop.watch import OptimizerWatch
from regrow.loop.working import Working
from regrow.renewal import Layer, Out
from regrow.schedule import Clock
from regrow.surgery import Companion


class Regrower:
    """What `regrow.attach` returns: the recipe at work.

    Also a context manager that detaches at its end.

    Attributes:
        report: What happened so far.

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
        self._recipe = recipe
        self._watches = tuple(watches)
        self._layers = {layer.filters.path: layer for layer in layers}
        self._working = working
        where = f"recipe '{recipe.info.name}'"
        self._schedule = recipe.when.bind(clock, where=where)
        self._seed = seed
        self._streams = streams
        self._ranks = ranks or Ranks()
        self._probe = probe
        self._renewer = Renewer(
            recipe.renew.bind(clock, where=where),
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
        self._state = recipe.initial_state(self._counts)
        self._step = 0
        self._total = clock.total_steps
        self._loaded = False
        self._loss: float | None = None
        self._seen: dict[str, Observation] = {}
        self._pending: Decision | None = None
        self._callbacks: list[Callable[[Renewed], object]] = []
        own = [note for layer in layers for note in recipe.renew.left_alone(layer.filters)]
        self.report = Report(
            recipe=recipe.info.name, layers={}, notes=(*own, *self._renewer.notes, *notes)
        )
        self._list(working.now())
        self._hooked, self._dry_run = hooks, dry_run
        self._reads_gradients = Signal.GRADIENTS in recipe.criterion.needs
        self._reads_weights = Signal.WEIGHTS in recipe.criterion.needs
        self._warner = Warner(recipe.info.name, reads_gradients=self._reads_gradients, hooked=hooks)
        self._lookout = Lookout(
            recipe, activity=activity, neighbours=neighbours or {}, warner=self._warner
        )
        self._calling_back = self._detached = self._begun = False
        self._stepped: set[int] = set()
        if hooks:
            for watch in watches:
                watch.listen(self)
        self._ask_for_passes()

    def _list(self, able: Set[str]) -> None:
        """Layers that take part in the training from now on are in the report from now on."""
        if not able <= self.report.layers.keys():
            known = self.report.layers.keys() | able
            self.report.layers = {
                path: count for path, count in self._counts.items() if path in known
            }

    # ---- inside one optimizer step

    def gradients_ready(self, watch: OptimizerWatch) -> None:
        """An optimizer is about to step: read what the recipe needs of it; with the last one, decide.

        Args:
            watch: The optimizer.
        """
        started = time.perf_counter()
        early = self._hooked or self._begun  # else the optimizer has made this very step already
        if self._step == 0 and early and not self._loaded and has_stepped(watch.optimizer):
            self._warner.forgotten(type(watch.optimizer).__name__)
        if self._step == self._total:
            self._warner.past_the_end(self._step)
        due = self._schedule.due(self._step) and not self._renewer.resting
        last = self._schedule.last_step
        watching = self._recipe.criterion.every_step and (last is None or self._step <= last)
        if id(watch) in self._stepped and id(self._watches[-1]) not in self._stepped:
            self._warner.order(
                step=self._step, stepped=len(self._stepped), optimizers=len(self._watches)
            )
        self._stepped.add(id(watch))
        self._pending = None
        if not watch.skips():
            if self._renewer.resting:
                silence, tensors = self._renewer.resting.silence, self._renewer.tensors
                if (self._hooked or self._begun) and watch is self._watches[0]:
                    self._warner.disturbed(silence.disturbed(tensors), step=self._step)
                silence.freeze(tensors)
            if watch.surgeon is not None:
                watch.surgeon.before_step()
            if due or watching:
                self._look(watch)
            if watch is self._watches[-1]:
                self._weigh(due=due, watching=watching, shown=self._lookout.shown())
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
            self._state = self._recipe.observe(self._recipe.forget(self._state, left), seen)
            if not due and not (shown and self._lookout.decides):
                return
            if due and seen and all(one.grad is None for one in seen.values()):
                self._warner.no_gradient(step=self._step)
            gated = self._recipe.min_loss is not None
            self._state, self._pending = self._recipe.decide(
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
        self._state = self._lookout.noted(self._state, shown, report=self.report)

    def step_made(self, watch: OptimizerWatch) -> None:
        """An optimizer has stepped: correct its young entries; after the last one, renew what was decided.

        Args:
            watch: The optimizer.
        """
        started = time.perf_counter()
        if watch.skips():
            if watch is self._watches[-1]:
                self._pending = self._loss = None
            return
        if watch.surgeon is not None:
            watch.surgeon.after_step()
        if watch is not self._watches[-1]:
            return
        decision, self._pending, self._loss = self._pending, None, None
        self._warner.order(
            step=self._step, stepped=len(self._stepped), optimizers=len(self._watches)
        )
        self._renewer.counted.after_step()
        if self._renewer.resting:
            self._renewer.resting.silence.settle(self._renewer.tensors)
        events: list[Renewed] = []
        if decision is not None and decision.masks:
            if self._recipe.drop:
                self._renewer.drop(decision, step=self._step)
            else:
                events = self._renewer.renew(decision, seed=self._seed, step=self._step)
        elif self._renewer.resting and self._schedule.ends(self._step):
            events = self._renewer.bring_back(seed=self._seed, step=self._step)
        self.report.events.extend(events)
        if self._recipe.drop:
            self._note_resting()
        step, self._step = self._step, self._step + 1
        self.report.steps = self._step
        self._ask_for_passes()
        self.report.seconds += time.perf_counter() - started
        # From here on the user's code may raise: all is done and counted.
        self._lookout.note_size(decision, step=step, report=self.report)
        if decision is not None and decision.nonfinite:
            first, found = self.report.nonfinite == 0, decision.nonfinite
            self.report.nonfinite += sum(found.values())
            if first:
                self._warner.nonfinite(found, step=step)
        self._call_back(events)

    def before_step(self) -> None:
        """Look and decide, right before ``optimizer.step()``, for loops that were attached with ``hooks=False``.

        With `after_step` right after the optimizer's step, all is bit for bit as with hooks. Of several optimizers, the
        first one's step comes after this, and the last one's before `after_step`.

        Raises:
            ConfigError: The hooks are on, and do this already; or it was called before, and `after_step` was not.

        Edge cases:
            A step that a gradient scaler may skip, or one with a closure: only hooks see what becomes of it.
        """
        if not self._is_called("before_step"):
            return
        if self._begun:
            raise ConfigError(
                "regrower.before_step() was called twice: call regrower.after_step() after optimizer.step()"
            )
        self._begun, ready = True, False
        try:
            for watch in self._watches:
                self.gradients_ready(watch)
            ready = True
        finally:
            self._begun = ready  # after an error (no loss was told, say) the loop may try again

    def after_step(self) -> None:
        """Renew what `before_step` has decided, right after ``optimizer.step()``.

        Raises:
            ConfigError: The hooks are on, and do this already; or `before_step` was not called.
        """
        if not self._is_called("after_step"):
            return
        if not self._begun:
            raise ConfigError(
                "regrower.after_step() needs regrower.before_step() before optimizer.step()"
            )
        self._begun = False
        for watch in self._watches:
            self.step_made(watch)

    def step(self) -> None:
        """Look and act: `before_step` and `after_step` in one, both after the optimizer's step.

        For loops that were attached with ``hooks=False``. Call it after ``optimizer.step()`` and before
        ``zero_grad()``. The gradients are those that the optimizer left: clipped or overwritten where it does so.

        Raises:
            ConfigError: The hooks are on, and do this already; or `before_step` was called for this step; or renewed
                filters must be seen before this optimizer's step.
        """
        if not self._is_called("step"):
            return
        if self._begun:
            raise ConfigError(
                "regrower.step() is for steps without regrower.before_step(): call regrower.after_step()"
            )
        for watch in self._watches if self._recipe.reset_optimizer else ():
            if watch.surgeon is not None and watch.surgeon.needs_pre_step:
                raise ConfigError(
                    f"{type(watch.optimizer).__name__} with these options needs hooks=True, or before_step() and "
                    f"after_step(): renewed filters must be seen right before its step, as with SGD's dampening "
                    f"(regrower.step)"
                )
        for watch in self._watches:
            self.gradients_ready(watch)
        for watch in self._watches:
            self.step_made(watch)

    def _is_called(self, name: str) -> bool:
        """Whether a call by the loop is to do anything: not after `detach`."""
        if self._hooked:
            raise ConfigError(
                f"regrower.{name}() is for attach(hooks=False): the optimizer's hooks do it already"
            )
        return not self._detached

    def _ask_for_passes(self) -> None:
        """Say which passes are to be read in the coming step."""
        last = self._schedule.last_step
        over = self._detached or (last is not None and self._step > last)
        self._lookout.ask(self._state, step=self._step, over=over, able=self._working.now)

    def _note_resting(self) -> None:
        resting = self._renewer.resting
        self.report.resting, self.report.bound = resting.filters, dict(resting.bound)
        self.report.resting_since = resting.since if resting else None

    def _call_back(self, events: Sequence[Renewed]) -> None:
        self._calling_back = True
        try:
            for event in events:
                for callback in self._callbacks:
                    callback(event)
        finally:
            self._calling_back = False

    # ---- what a user calls

    def tell(self, *, loss: Tensor | float) -> None:
        """Tell the training loss of the coming step, for recipes with ``min_loss``.

        Args:
            loss: A number or a tensor with one element. Under DistributedDataParallel each rank tells its own, and
                their mean counts.
        """
        if self._recipe.min_loss is not None:
            self._loss = float(loss.detach() if isinstance(loss, Tensor) else loss)

    @property
    def watched(self) -> frozenset[str]:
        """The layers whose forward passes are to be read in the coming step, by path."""
        return self._lookout.asked

    def show(self, values: Mapping[str, Tensor], *, inputs: Mapping[str, Tensor]) -> None:
        """Tell what a forward pass has shown, for loops in which no module is called.

        Call it before `before_step`, once a pass, where `watched` is not empty.

        Args:
            values: For each watched layer what its first reader takes of it, in the shape that the reader would be
                called with.
            inputs: For each what it was called with.
        """
        self._lookout.show(values, inputs)

    def on_renewal(self, callback: Callable[[Renewed], object]) -> None:
        """Call a function after each renewal, once all renewals of its step have been made.

        Args:
            callback: Takes one `Renewed`: step, layer, filters, scores.
        """
        self._callbacks.append(callback)

    def bring_back(self) -> tuple[Renewed, ...]:
        """Renew the filters that are out of the network now, before the schedule does: between two steps.

        For a training that ends, or a recipe that is detached, while filters are out.

        Returns:
            One event a layer; none where the network is whole.
        """
        resting = self._renewer.resting
        if not resting:
            return ()
        events = self._renewer.bring_back(seed=self._seed, step=self._step - 1)
        self.report.events.extend(events)
        self._note_resting()
        self._call_back(events)
        return tuple(events)

    def is_at_work_on(self, optimizers: Iterable[Optimizer]) -> bool:
        """Whether it acts at the steps of one of some optimizers, and changes something.

        Args:
            optimizers: Bare torch optimizers.

        Returns:
            False after `detach`, and in a dry run.
        """
        mine = {id(watch.optimizer) for watch in self._watches}
        return not (self._detached or self._dry_run or mine.isdisjoint(map(id, optimizers)))

    def detach(self) -> None:
        """Stop acting. What has been done stays; young entries are not corrected any further.

        Edge cases:
            Filters that are out stay out, and most of them for ever: all that reads them is 0, so that no gradient
            reaches them. A RegrowWarning says so. `bring_back` renews them, best before `detach`: what has been written
            into them afterwards is lost.
        """
        already, self._detached = self._detached, True
        self._lookout.leave()
        if self._renewer.let_go() and not already:
            count = sum(len(filters) for filters in self.report.resting.values())
            self._warner.left_out(count)
        for watch in self._watches:
            # In a callback the optimizer is walking through its hooks: ours stay, and do nothing.
            if self._calling_back:
                watch.silence()
            else:
                watch.release()

    def __enter__(self) -> Self:
        """The regrower itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Detach."""
        self.detach()

    def __reduce__(self) -> tuple[type[Detached], tuple[str, Report, dict[str, Any]]]:
        """A copy is `Detached`: the optimizer is copied without the hooks that this one belongs to."""
        return Detached, ("Regrower", self.report, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on bit for bit; loadable with ``weights_only=True``."""
        resets = self._recipe.reset_optimizer
        surgeons = [watch.surgeon if resets else None for watch in self._watches]
        return {
            "version": STATE_VERSION,
            "recipe": self._recipe.info.name,
            "layers": dict(self._counts),
            "seed": self._seed,
            "step": self._step,
            "born": dict(self._state.born),
            "criteria": {layer: dict(state) for layer, state in self._state.criteria.items()},
            "optimizers": [None if each is None else each.state_dict() for each in surgeons],
            "resting": self._renewer.resting.state_dict(self._renewer.tensors),
            "fresh": dict(self._renewer.fresh),
            "counted": self._renewer.counted.state_dict(),
            "started_at_zero": sorted(self._lookout.started_at_zero),
            "report": self.report.saved(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Load the model and the optimizers first; with several ranks, on each of them.

        Args:
            state: What `state_dict` gave.

        Edge cases:
            A state of another version, recipe, seed or model, or one that is not whole, is a StateError, and nothing
            is changed. So is one with filters out of the network that are not 0 in the model.
            The settings of the recipe and the length of the training are those of this regrower.
        """
        state = brought_up(state)
        check_saved(state, self.state_dict())
        for watch, memory in zip(self._watches, state["optimizers"], strict=True):
            if watch.surgeon is not None and memory is not None:
                watch.surgeon.check_state(memory)
        self._renewer.check_resting(state["resting"])
        self._renewer.counted.check_state(state["counted"])
        born = {path: state["born"][path].tolist() for path in self._layers}
        out = {path: mask.tolist() for path, mask in state["resting"]["masks"].items()}
        self._ranks.check_same(
            {"step": int(state["step"]), "born": born, "resting": out}, where="load_state_dict"
        )
        for watch, memory in zip(self._watches, state["optimizers"], strict=True):
            if watch.surgeon is not None and memory is not None:
                watch.surgeon.load_state_dict(memory)
        self._renewer.load_resting(state["resting"])
        self._begun, self._loaded = False, True
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
        self._lookout.forget(self._state, state["started_at_zero"], report=self.report)
        self._ask_for_passes()
