"""Regrower: a recipe that watches one model and one optimizer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from regrow.compose import Decision, Recipe, RecipeState
from regrow.criteria import Observation, Signal
from regrow.errors import (
    ConfigError,
    NoEffectWarning,
    NonFiniteWarning,
    OptimizerError,
)
from regrow.graph.slices import rows
from regrow.history import Renewed, Report
from regrow.loop.saving import STATE_VERSION, check_saved
from regrow.renewal import Layer
from regrow.schedule import Clock
from regrow.surgery import OptimizerSurgeon, apply_edits_

_ATTACHED: WeakSet[Regrower] = WeakSet()
"""All that are attached: two on one optimizer share what is kept of its state."""


class Regrower:
    """What `regrow.attach` returns: the recipe at work.

    Also a context manager that detaches at its end.

    Attributes:
        report: What happened so far.

    Args:
        recipe: What to do.
        optimizer: The bare torch optimizer.
        model: The bare model.
        layers: The layers to watch.
        clock: The length of the training.
        seed: For the recipe's random numbers.
        dry_run: Change nothing.
        hooks: Act by the optimizer's step hooks.
        notes: What is left alone in this model, besides what the recipe says.

    Raises:
        OptimizerError: The optimizer cannot be followed.
        ConfigError: A setting that this optimizer does not allow.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        optimizer: Optimizer,
        model: nn.Module,
        layers: Sequence[Layer],
        clock: Clock,
        seed: int,
        dry_run: bool = False,
        hooks: bool = True,
        notes: Sequence[str] = (),
    ) -> None:
        if isinstance(optimizer, LBFGS):
            raise OptimizerError(
                "LBFGS evaluates the loss many times in one step and couples all parameters (attach)"
            )
        self._recipe = recipe
        self._optimizer = optimizer
        self._model = model
        self._tensors: dict[str, Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        self._layers = {layer.filters.path: layer for layer in layers}
        self._schedule = recipe.when.bind(clock, where=f"recipe '{recipe.info.name}'")
        self._seed = seed
        self._dry_run = dry_run
        counts = {path: layer.filters.count for path, layer in self._layers.items()}
        self._state = recipe.initial_state(counts)
        self._surgeon = self._make_surgeon()
        self._step = 0
        self._loss: float | None = None
        self._pending: Decision | None = None
        self._callbacks: list[Callable[[Renewed], object]] = []
        own = [note for layer in layers for note in recipe.renew.left_alone(layer.filters)]
        self.report = Report(recipe=recipe.info.name, layers=counts, notes=(*own, *notes))
        self._handles: list[Any] = []
        self._hooked = hooks
        self._calling_back = self._missed = self._detached = False
        if hooks:
            self._handles = [
                optimizer.register_step_pre_hook(self._before),
                optimizer.register_step_post_hook(self._after),
            ]
        elif self._surgeon is not None and self._surgeon.needs_pre_step:
            raise ConfigError(
                "SGD with dampening needs hooks=True: a renewed filter's first step is undamped (attach)"
            )
        _ATTACHED.add(self)

    def _make_surgeon(self) -> OptimizerSurgeon | None:
        if not self._recipe.reset_optimizer:
            return None
        held = {
            id(parameter) for group in self._optimizer.param_groups for parameter in group["params"]
        }
        parameters = {
            name: tensor
            for name, tensor in self._tensors.items()
            if isinstance(tensor, torch.nn.Parameter) and id(tensor) in held
        }
        surgeon = OptimizerSurgeon(self._optimizer, parameters)
        # Two surgeons on one optimizer would each correct the entries that both have renewed.
        for other in _ATTACHED:
            if other._surgeon is not None and other._surgeon.has_same_parameters(surgeon):
                return other._surgeon
        return surgeon

    # ---- inside one optimizer step

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The step is about to be made: the gradients are there, unless a closure will make them."""
        del optimizer
        if self._detached:
            return None
        # torch hands over the arguments of step() with the optimizer itself in front.
        positional = list(args)
        closure = kwargs.get("closure", positional[1] if len(positional) > 1 else None)
        if closure is None:
            self._observe()
            return None
        inside = self._observing(closure)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": inside}
        positional[1] = inside
        return tuple(positional), kwargs

    def _observing(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The user's closure, followed by a look at the gradients that it has made."""

        def inside() -> Any:
            loss = closure()
            if isinstance(loss, Tensor | float | int):
                self.tell(loss=loss)
            self._observe()
            return loss

        return inside

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The step has been made."""
        del optimizer, args, kwargs
        if not self._detached:
            self._act()

    def step(self) -> None:
        """Look and act, for loops that were attached with ``hooks=False``.

        Call it after ``optimizer.step()`` and before ``zero_grad()``. The gradients are those that
        the optimizer left: clipped or overwritten where it does so.

        Raises:
            ConfigError: The hooks are on, and do this already.
        """
        if self._hooked:
            raise ConfigError(
                "regrower.step() is for attach(hooks=False): the optimizer's hooks do it already"
            )
        if not self._detached:
            self._observe()
            self._act()

    def _observe(self) -> None:
        """Read what the recipe needs of this step, and decide if a decision is due."""
        started = time.perf_counter()
        due = self._schedule.due(self._step)
        last = self._schedule.last_step
        watching = self._recipe.criterion.every_step and (last is None or self._step <= last)
        self._pending = None
        if not self._skipped():
            if self._surgeon is not None:
                self._surgeon.before_step()
            if due or watching:
                with torch.no_grad():
                    seen = self._observations()
                    self._state = self._recipe.observe(self._state, seen)
                if due and all(one.grad is None for one in seen.values()):
                    self._warn_no_gradient()
            if due:
                self._state, self._pending = self._recipe.decide(
                    self._state, step=self._step, seed=self._seed, loss=self._loss
                )
                self.report.checks += 1
        self.report.seconds += time.perf_counter() - started

    def _skipped(self) -> bool:
        """Whether the optimizer will skip this step: a fused one under a gradient scaler that has met an infinity."""
        found = getattr(self._optimizer, "found_inf", None)
        return found is not None and bool(found)

    def _observations(self) -> dict[str, Observation]:
        needs = self._recipe.criterion.needs
        scale = getattr(self._optimizer, "grad_scale", None)
        seen: dict[str, Observation] = {}
        for path, layer in self._layers.items():
            parameter = self._tensors[layer.filters.weight]
            grad = parameter.grad if Signal.GRADIENTS in needs else None
            if grad is not None and scale is not None:
                grad = grad / scale
            seen[path] = Observation(
                count=layer.filters.count,
                weight=rows(parameter.detach(), layer.filters) if Signal.WEIGHTS in needs else None,
                grad=None if grad is None else rows(grad, layer.filters),
            )
        return seen

    def _act(self) -> None:
        """Right after the optimizer's step: correct young entries, then renew what was decided."""
        started = time.perf_counter()
        decision, self._pending, self._loss = self._pending, None, None
        if self._skipped():
            return
        if self._surgeon is not None:
            self._surgeon.after_step()
        events = [] if decision is None else self._carry_out(decision)
        self.report.events.extend(events)
        step, self._step = self._step, self._step + 1
        self.report.steps = self._step
        self.report.seconds += time.perf_counter() - started
        # From here on the user's code may raise: all is done and counted.
        if decision is not None and decision.nonfinite:
            self._note_nonfinite(decision.nonfinite, step=step)
        self._call_back(events)

    def _carry_out(self, decision: Decision) -> list[Renewed]:
        """Renew what was decided, in all layers."""
        if decision.masks:  # moving a model replaces its buffers, but never its parameters
            self._tensors.update(self._model.named_buffers(remove_duplicate=False))
        events: list[Renewed] = []
        for path, mask in decision.masks.items():
            if not self._dry_run:
                edits = self._recipe.renew.edits(
                    self._layers[path], mask, params=self._tensors, seed=self._seed, step=self._step
                )
                apply_edits_(self._tensors, edits)
                if self._surgeon is not None:
                    self._surgeon.reset(edits)
            filters = mask.nonzero()[:, 0]
            events.append(
                Renewed(
                    step=self._step,
                    layer=path,
                    filters=tuple(filters.tolist()),
                    scores=tuple(decision.scores[path][filters].tolist()),
                )
            )
        return events

    def _call_back(self, events: Sequence[Renewed]) -> None:
        self._calling_back = True
        try:
            for event in events:
                for callback in self._callbacks:
                    callback(event)
        finally:
            self._calling_back = False

    def _note_nonfinite(self, counts: Mapping[str, int], *, step: int) -> None:
        first = self.report.nonfinite == 0
        self.report.nonfinite += sum(counts.values())
        if first:
            found = ", ".join(f"{count} in {layer}" for layer, count in counts.items())
            warnings.warn(
                f"scores that are not finite at step {step}: {found}; they select no filter "
                f"(warned once; report.nonfinite counts on)",
                NonFiniteWarning,
                stacklevel=6,
            )

    def _warn_no_gradient(self) -> None:
        if self._missed or Signal.GRADIENTS not in self._recipe.criterion.needs:
            return
        self._missed = True
        early = "" if self._hooked else ": call regrower.step() before zero_grad()"
        warnings.warn(
            f"no watched layer has a gradient at step {self._step}, so that no filter is scored{early} "
            f"(warned once)",
            NoEffectWarning,
            stacklevel=6,
        )

    # ---- what a user calls

    def tell(self, *, loss: Tensor | float) -> None:
        """Tell the training loss of the coming step, for recipes with ``min_loss``.

        Args:
            loss: A number or a tensor with one element. With several processes it must be the same
                number in all of them (the mean over the ranks, say): they decide alike only then.
        """
        if self._recipe.min_loss is not None:
            self._loss = float(loss.detach() if isinstance(loss, Tensor) else loss)

    def on_renewal(self, callback: Callable[[Renewed], object]) -> None:
        """Call a function after each renewal, once all renewals of its step have been made.

        Args:
            callback: Takes one `Renewed`: step, layer, filters, scores.
        """
        self._callbacks.append(callback)

    def detach(self) -> None:
        """Stop acting. What has been done stays; young entries are not corrected any further."""
        _ATTACHED.discard(self)
        self._detached = True
        if self._calling_back:
            return  # the optimizer is walking through its hooks: ours stay, and do nothing
        for handle in self._handles:
            handle.remove()
        self._handles = []

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

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on bit for bit; loadable with ``weights_only=True``."""
        return {
            "version": STATE_VERSION,
            "recipe": self._recipe.info.name,
            "layers": dict(self.report.layers),
            "seed": self._seed,
            "step": self._step,
            "born": dict(self._state.born),
            "criteria": {layer: dict(state) for layer, state in self._state.criteria.items()},
            "optimizer": self._surgeon.state_dict() if self._surgeon is not None else None,
            "report": self.report.saved(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Load the model and the optimizer first.

        Args:
            state: What `state_dict` gave.

        Edge cases:
            A state of another version, recipe, seed or model, or one that is not whole, is a StateError, and nothing
            is changed.
            The settings of the recipe and the length of the training are those of this regrower.
        """
        check_saved(state, self.state_dict())
        if self._surgeon is not None:
            self._surgeon.load_state_dict(state["optimizer"])
        self._step = int(state["step"])
        self._state = RecipeState(
            criteria={
                path: {
                    key: value.to(self._tensors[layer.filters.weight].device)
                    for key, value in state["criteria"][path].items()
                }
                for path, layer in self._layers.items()
            },
            born={path: state["born"][path].to("cpu") for path in self._layers},
        )
        self.report.restore(state["report"], steps=self._step)
