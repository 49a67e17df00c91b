"""Regrower: what a user holds of a recipe that is at work.

What `attach` gives. It hands on to the `Stepper`, which does the work, and to `loop/saved_state`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from torch import Tensor
from torch.optim import Optimizer

from regrow.errors import ConfigError
from regrow.health import Health, inspect
from regrow.history import Renewed, Report
from regrow.loop import saved_state
from regrow.loop.detached import Detached
from regrow.loop.step_log import StepLog
from regrow.loop.stepper import Stepper


class Regrower:
    """What `regrow.attach` returns: the report, the state, and how to stop.

    Also a context manager that detaches at its end.

    Attributes:
        report: What happened so far.

    Args:
        stepper: Acts at the optimizer's steps, from here on.
        log: Is told of each step behind it; None: nobody is.
    """

    def __init__(self, stepper: Stepper, *, log: StepLog | None = None) -> None:
        self._stepper = stepper
        self._log = log
        self._begun = False
        self.report: Report = stepper.report

    def tell(self, *, loss: Tensor | float) -> None:
        """Tell the training loss of the coming step, for recipes with ``min_loss``.

        Args:
            loss: A number or a tensor with one element. Under DistributedDataParallel each rank tells its own, and
                their mean counts.
        """
        self._stepper.tell(loss=loss)

    def boundary(self) -> None:
        """Tell that the task changes here: the data, the targets or the reward are others from the next step on.

        Some recipes act at such boundaries: `regrow.ShrinkPerturb` makes the network smaller before it meets new data.
        A change of the whole network is made in this call; filters are chosen in the first step behind it
        (`regrow.schedule.AtBoundary`). Call it between two steps, before the first one of a new task; the first task of
        a training has no boundary before it.

        Raises:
            ConfigError: Between `before_step` and `after_step`; or ranks differ in their number of steps or boundaries.

        Edge cases:
            A recipe that has no use for boundaries takes no notice: a loop may tell all of them, whatever is attached.
            ``report.boundaries`` counts them in any case, in a dry run too. After `detach` nothing happens.
            Every rank must tell the same boundaries.
            Each call counts: two of them without a step between them are two boundaries, with draws of their own.
        """
        if self._begun:
            raise ConfigError(
                "regrower.boundary() must be called between two steps, and before_step() was called without "
                "after_step() (regrower.boundary)"
            )
        if not self._stepper.left:
            self._stepper.boundary()

    def about_to_pass(self, *args: Any, **named: Any) -> None:
        """Tell what the coming training pass takes, for loops in which no module is called.

        A gain check looks at the first one, and renewals by what layers heard at the newest. What is told is not
        copied, and must not be written into before the step is made.

        Args:
            *args: What the model would be called with.
            **named: What it would be called with by name.

        Edge cases:
            Where nobody waits for it, nothing happens: a loop may tell every pass, or the first one and those of steps
            in which `awaits_pass` is true.
        """
        if self._stepper.protection is not None:
            self._stepper.protection.about_to_pass_((args, named))
        if self._stepper.newest is not None:
            self._stepper.newest.about_to_pass((args, named))

    @property
    def awaits_pass(self) -> bool:
        """Whether filters may be renewed in the coming step by what layers hear in its training pass."""
        return self._stepper.newest is not None and self._stepper.newest.waits

    @property
    def awaits_loss(self) -> bool:
        """Whether the recipe wants to be told the loss of each step (`tell`): it has a ``min_loss``."""
        return self._stepper.recipe.min_loss is not None

    @property
    def watched(self) -> frozenset[str]:
        """The layers whose forward passes are to be read in the coming step, by path."""
        lookout = self._stepper.lookout
        return frozenset() if lookout is None else lookout.activity.asked

    def show(self, values: Mapping[str, Tensor], *, inputs: Mapping[str, Tensor]) -> None:
        """Tell what a forward pass has shown, for loops in which no module is called.

        Once a pass, before `before_step`, where `watched` is not empty.

        Args:
            values: For each watched layer what its first reader takes of it, in the shape that the reader would be
                called with.
            inputs: For each what it was called with.
        """
        if self._stepper.lookout is not None:
            self._stepper.lookout.activity.show(values, inputs)

    def on_renewal(self, callback: Callable[[Renewed], object]) -> None:
        """Call a function after each renewal, once all renewals of its step have been made.

        Args:
            callback: Takes one `Renewed`: step, layer, filters, scores.
        """
        self._stepper.callbacks.append(callback)

    def inspect(self, batch_or_loader: Any, **options: Any) -> Health:
        """Look at the network that is being trained: `regrow.inspect` with its wiring and its optimizer.

        Args:
            batch_or_loader: As there.
            **options: As there. Of several optimizers the first one is asked for its next step; ``optimizer=None``:
                none.

        Returns:
            The report.
        """
        host = self._stepper.renewer.host
        options.setdefault("optimizer", self._stepper.watches[0].optimizer)
        return inspect(host.model, batch_or_loader, wiring=host.wiring, **options)

    def bring_back(self) -> tuple[Renewed, ...]:
        """Renew the filters that are out of the network now, before the schedule does: between two steps.

        For a training that ends, or a recipe that is detached, while filters are out.

        Returns:
            One event a layer; none where the network is whole.
        """
        events = self._stepper.bring_back()
        self._stepper.call_back(events)
        return events

    def is_at_work_on(self, optimizers: Iterable[Optimizer]) -> bool:
        """Whether it acts at the steps of one of some bare optimizers; not after `detach`, nor in a dry run."""
        stepper = self._stepper
        mine = {id(watch.optimizer) for watch in stepper.watches}
        return not (
            stepper.left or stepper.renewer.host.dry_run or mine.isdisjoint(map(id, optimizers))
        )

    def detach(self) -> None:
        """Stop acting. What has been done stays; young entries are not corrected any further.

        Edge cases:
            Filters that are out stay out, and most of them for ever: all that reads them is 0, so that no gradient
            reaches them. A RegrowWarning says so. `bring_back` renews them, best before `detach`: what has been written
            into them afterwards is lost.
        """
        self._stepper.leave()
        if self._log is not None:
            self._log.leave()
        for watch in self._stepper.watches:
            # In a callback the optimizer is walking through its hooks: ours stay, and do nothing.
            if self._stepper.calling:
                watch.silence()
            else:
                watch.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.detach()

    def __reduce__(self) -> tuple[type[Detached], tuple[str, Report, dict[str, Any]]]:
        """A copy is `Detached`: the optimizer is copied without the hooks that this one belongs to."""
        return Detached, ("Regrower", self.report, self.state_dict())

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
            for watch in self._stepper.watches:
                self._stepper.gradients_ready(watch)
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
        self._step_made()

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
        protection, recipe = self._stepper.protection, self._stepper.recipe
        if protection is not None and protection.guards:
            raise ConfigError(
                f"the guard of recipe '{recipe.info.name}' must see the gradients before the optimizer's "
                "step: call before_step() and after_step(), or attach with hooks=True (regrower.step)"
            )
        for watch in self._stepper.watches if recipe.optimizer_state == "exact" else ():
            if watch.surgeon is not None and watch.surgeon.needs_pre_step:
                raise ConfigError(
                    f"{type(watch.optimizer).__name__} with these options needs hooks=True, or before_step() and "
                    f"after_step(): renewed filters must be seen right before its step, as with SGD's dampening "
                    f"(regrower.step)"
                )
        for watch in self._stepper.watches:
            self._stepper.gradients_ready(watch, early=False)
        self._step_made()

    def _step_made(self) -> None:
        for watch in self._stepper.watches:
            self._stepper.step_made(watch)
        if self._log is not None:
            self._log.step_made()

    def _is_called(self, name: str) -> bool:
        """Whether a call by the loop is to do anything: not after `detach`."""
        if self._stepper.hooked:
            raise ConfigError(
                f"regrower.{name}() is for attach(hooks=False): the optimizer's hooks do it already"
            )
        return not self._stepper.left

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to resume bit for bit; loadable with ``weights_only=True``."""
        return saved_state.saved(self._stepper)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state. Load the model and the optimizers first; with several ranks, on each of them.

        Args:
            state: What `state_dict` gave.

        Edge cases:
            A state of another version, recipe, seed or model, or one that is not whole, is a StateError, and nothing
            is changed. So is one with filters out of the network that are not 0 in the model.
            The settings of the recipe and the length of the training are those of this regrower.
        """
        saved_state.load(self._stepper, state)
        self._begun = False
