"""The optimizers of a training: when each of them steps, which tensors they train now, and which layers take part.

An `OptimizerWatch` calls the stepper around each step of its optimizer. What nobody trains keeps its bits, and a layer
is renewed only while everything that must change with it is trained: `TrainedTensors` and `WorkingLayers` are asked
anew in every step that matters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, Final, Protocol, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrow.graph import Norm
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon

_HOOKED: Final = Optimizer.profile_hook_step.__code__.co_filename
"""Where torch wraps the step of every optimizer class to call the hooks."""


class Steps(Protocol):
    """What is called around each step of an optimizer."""

    def gradients_ready(self, watch: OptimizerWatch) -> None:
        """The step is about to be made, with gradients that are complete."""
        ...

    def step_made(self, watch: OptimizerWatch) -> None:
        """The step has been made."""
        ...

    def tell(self, *, loss: Tensor | float) -> None:
        """A closure has given the loss."""
        ...


class OptimizerWatch:
    """Calls before and after every step of one optimizer."""

    def __init__(self, optimizer: Optimizer, surgeon: OptimizerSurgeon | None) -> None:
        self.optimizer = optimizer  # the bare torch optimizer
        # Keeps its state of renewed entries right; None where that is left as it is.
        self.surgeon = surgeon
        self.active = True  # until it is silenced or released
        self._listener: Steps | None = None
        self._handles: list[Any] = []
        self._depth = 0

    def listen(self, listener: Steps) -> None:
        """Hook the optimizer."""
        self._listener = listener
        # Where the step itself is compiled, torch.compile must not look into what is called around it.
        before: Any = torch.compiler.disable(self._before)
        after: Any = torch.compiler.disable(self._after)
        self._handles = [
            self.optimizer.register_step_pre_hook(before),
            self.optimizer.register_step_post_hook(after),
        ]

    def silence(self) -> None:
        """Call nobody any more; the hooks stay where they are, for the optimizer may be walking through them."""
        self._listener, self.active = None, False

    def release(self) -> None:
        """Take the hooks out."""
        self._listener, self.active = None, False
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def has_stepped(self) -> bool:
        """Whether the optimizer shows a step that it has made; one that keeps nothing, as plain SGD, shows none."""
        return any(_shows_a_step(state) for state in self.optimizer.state.values())

    @property
    def gradient_scale(self) -> Tensor | None:
        """What the gradients are still multiplied by: a fused optimizer under a gradient scaler divides in its step."""
        return getattr(self.optimizer, "grad_scale", None)

    def skips(self) -> bool:
        """Whether this step moves nothing: a fused optimizer under a gradient scaler that has met an infinity."""
        found = getattr(self.optimizer, "found_inf", None)
        return found is not None and bool(found)

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The step is about to be made: the gradients are there, unless a closure will make them."""
        listener = self._listener
        if listener is None:
            return None
        # A step that was broken off by an error leaves its depth behind: then nobody is inside.
        self._depth = self._depth + 1 if self._depth and _is_nested(optimizer) else 1
        if self._depth > 1:
            return None  # a subclass calls its parent's step(), which torch hooks too: one step, not two
        # torch hands over the arguments of step() with the optimizer itself in front.
        positional = list(args)
        closure = kwargs.get("closure", positional[1] if len(positional) > 1 else None)
        if closure is None:
            listener.gradients_ready(self)
            return None
        inside = self._looking_after(closure, listener)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": inside}
        positional[1] = inside
        return tuple(positional), kwargs

    def _looking_after(self, closure: Callable[[], Any], listener: Steps) -> Callable[[], Any]:
        """The user's closure, followed by a look at the gradients that it makes first: a step has one decision."""
        looked = False

        def inside() -> Any:
            nonlocal looked
            loss = closure()
            if not looked:
                looked = True
                if isinstance(loss, Tensor | float | int):
                    listener.tell(loss=loss)
                listener.gradients_ready(self)
            return loss

        return inside

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The step has been made."""
        self._depth = max(self._depth - 1, 0)
        if self._listener is not None and self._depth == 0:
            self._listener.step_made(self)


@final
class TrainedTensors:
    """Answers, for everything that writes to a model: is this tensor trained now?

    A parameter is trained while it requires a gradient and lies in a group of one of the optimizers, by a learning
    rate that is not 0. What is taken from one that is not would never be learnt back. It is asked anew each time:
    layers are frozen and unfrozen, and join and leave optimizers, while a model trains. No tensor is read for the
    answer.

    Edge cases:
        Where the learning rates of all groups are 0 (the first step of a warm-up, the last of an annealing) none of
        them is frozen by it: the whole training rests. One that is kept in a tensor counts as one that is not 0, for
        it could not be read without a wait.
        A buffer of a layer all of whose own parameters are frozen is frozen with them: its statistics would not be
        learnt again. Other buffers may be written.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],  # those that train the model
        parameters: Mapping[str, Tensor],  # the model's, by all of their names
        *,
        norms: Iterable[Norm] = (),  # normalisation layers: their buffers go with their parameters
    ) -> None:
        self._optimizers = tuple(optimizers)
        self._parameters = dict(parameters)
        self._by_module: dict[str, set[str]] = {}  # a module's own parameters, by its path
        for name in self._parameters:
            self._by_module.setdefault(_owner(name), set()).add(name)
        # The parameters of its norm, by the name of a buffer.
        self._of_norms: dict[str, set[str]] = {}
        for norm in norms:
            own = {each.name for each in norm.tensors if each.is_parameter}
            for each in norm.tensors:
                if not each.is_parameter:
                    self._of_norms.setdefault(each.name, set()).update(own)

    def now(self) -> frozenset[str]:
        """The names of all parameters that are trained."""
        groups: list[dict[str, Any]] = []
        moving: list[dict[str, Any]] = []
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                groups.append(group)
                lr = group.get("lr", 1.0)
                if isinstance(lr, Tensor) or float(lr) != 0.0:
                    moving.append(group)
        return self._in(moving or groups)

    def by(self, optimizer: Optimizer) -> frozenset[str]:
        """The same for one of the optimizers."""
        held = {id(each) for group in optimizer.param_groups for each in group["params"]}
        return frozenset([name for name in self.now() if id(self._parameters[name]) in held])

    def moving(self) -> frozenset[str]:
        """Those that the coming step moves: without what has a learning rate of 0, in a warm-up too."""
        return self._in([each for each in self._groups() if float(each.get("lr", 1.0)) != 0.0])

    def held(self, name: str) -> bool:
        """Whether a parameter lies in an optimizer, frozen or not."""
        return any(
            each is self._parameters.get(name)
            for group in self._groups()
            for each in group["params"]
        )

    def writable(self, names: Iterable[str], trained: Set[str] | None = None) -> set[str]:
        """Of some parameters and buffers those that may be written; `trained` is what `now` has just said."""
        trained = self.now() if trained is None else trained
        found: set[str] = set()
        for name in names:
            if name in self._parameters:
                may = name in trained
            else:  # a buffer goes with the parameters of its norm, or of its module
                own = self._of_norms.get(name) or self._by_module.get(_owner(name), set())
                may = not own or not own.isdisjoint(trained)
            if may:
                found.add(name)
        return found

    def permitted(self, edits: Sequence[Edit], trained: Set[str] | None = None) -> list[Edit]:
        """Of some edits those of tensors that may be written."""
        names = self.writable([edit.name for edit in edits], trained)
        return [edit for edit in edits if edit.name in names]

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def _in(self, groups: Iterable[Mapping[str, Any]]) -> frozenset[str]:
        held: set[int] = set()
        for group in groups:
            held.update(map(id, group["params"]))
        return frozenset(
            [
                name
                for name, each in self._parameters.items()
                if each.requires_grad and id(each) in held
            ]
        )


@final
class WorkingLayers:
    """Asks, layer by layer, whether it takes part in the training now; `regrow.loop.start.working` has put it together.

    A layer that does not has no score, is counted in no share of the network, and is not renewed.
    """

    def __init__(
        self,
        trained: TrainedTensors,
        needs: Mapping[str, frozenset[str]],
        to_return: Mapping[str, frozenset[str]],
    ) -> None:
        self.trained = trained  # what may be written at the moment
        # Names of the parameters that must be trained when filters are selected, by layer.
        self.needs = dict(needs)
        self._to_return = dict(to_return)  # the same when filters come back that were dropped

    def now(self, trained: Set[str] | None = None) -> frozenset[str]:
        """The layers that take part now, by path; `trained` is what `TrainedTensors.now` has just said."""
        trained = self.trained.now() if trained is None else trained
        return frozenset([path for path, own in self.needs.items() if own <= trained])

    def returning(self) -> frozenset[str]:
        """The layers of which filters that were dropped are renewed if they come back now.

        Those of others come back as they were: they could learn nothing from where a renewal leaves them.
        """
        trained = self.trained.now()
        return frozenset([path for path, own in self._to_return.items() if own <= trained])


def _is_nested(optimizer: Optimizer) -> bool:
    """Whether a step of this optimizer is being made inside another of its own, by the calls that are under way."""
    found = 0
    frame = inspect.currentframe()
    while frame is not None and found < 2:
        code = frame.f_code
        if code.co_name == "wrapper" and code.co_filename == _HOOKED:
            found += frame.f_locals.get("self") is optimizer
        frame = frame.f_back
    return found > 1


def _shows_a_step(state: Mapping[str, Any]) -> bool:
    count = state.get("step")
    if isinstance(count, (int, float)) or (isinstance(count, Tensor) and count.numel() == 1):
        return float(count) > 0
    return any(isinstance(each, Tensor) and bool(each.any()) for each in state.values())


def _owner(name: str) -> str:
    return name.rpartition(".")[0]
