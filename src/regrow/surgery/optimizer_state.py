"""The optimizer's memory of a renewed unit: what a fresh unit would have, without a trace in its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError, StateError
from regrow.renewal import Edit
from regrow.surgery.correction import Correction
from regrow.surgery.entry import Entry
from regrow.surgery.optimizers import LEAVE
from regrow.surgery.saved_births import check_memory, loaded
from regrow.surgery.trial import tried_family
from regrow.surgery.young import without


@dataclass(frozen=True, kw_only=True)
class Target:
    """One edit of a parameter that the optimizer has stepped, and whose state can be edited."""

    name: str
    parameter: nn.Parameter
    mask: Tensor
    group: dict[str, Any]


class OptimizerSurgeon:
    """Keeps the state of renewed entries as if they were alone in their optimizer.

    What remembers an entry is given the value of a fresh one. What an optimizer has once for a whole
    tensor (a step count, a product of momenta, a rate) is left to the neighbours, and for entries younger
    than their tensor each step is made right, after the optimizer has made it, with a count of their own.
    Two ways, whichever is exact at the least cost (see the families): Adam's kin have a step that is a
    function of their state after it, so that a difference is added; for the others the tensor is kept right
    before the step, and the young entries' new value is computed from it and written over. Neither
    touches an entry that is not young. An age is dropped when it no longer matters.

    Args:
        optimizer: The optimizer. Its state is edited; its options are never touched.
        parameters: All parameters that may be edited, by name. Whether the optimizer holds one is looked up when it is
            edited, and others are skipped. One parameter may have several names.
        reset_state: ``exact``, or ``zero``: exact where that is known, and for optimizers that are not known every
            state tensor of the parameter's shape is zeroed, and that is all.
        beside: Another surgeon at work on the same optimizer, under whatever names: the two share the young entries, so
            that each step is made right once.

    Raises:
        ValueError: `beside` works on another optimizer.

    Edge cases:
        An optimizer that cannot be followed is an OptimizerError that says why, and what can be done.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parameters: Mapping[str, nn.Parameter],
        *,
        reset_state: Literal["exact", "zero"] = "exact",
        beside: OptimizerSurgeon | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._family = tried_family(optimizer, reset_state=reset_state)
        self._parameters = dict(parameters)
        first: dict[int, str] = {}
        # Tied weights: under two names it is one tensor still, and has one name in a saved state.
        self._names = {
            name: first.setdefault(id(parameter), name) for name, parameter in parameters.items()
        }
        if beside is not None and beside._optimizer is not optimizer:
            raise ValueError("surgeons work beside each other on one optimizer only")
        self._correction = (
            Correction(optimizer, self._family) if beside is None else beside._correction
        )

    @property
    def needs_pre_step(self) -> bool:
        """Whether `before_step` must run before each optimizer step, so that a loop without hooks will not do."""
        return any(self._family.needs_pre_step(group) for group in self._optimizer.param_groups)

    def _targets(self, edits: Iterable[Edit]) -> Iterator[Target]:
        groups, kind = self._correction.groups(), type(self._optimizer).__name__
        for edit in edits:
            parameter = self._parameters.get(edit.name)
            if not edit.is_parameter or not edit.fresh or parameter is None:
                continue
            group, state = groups.get(id(parameter)), self._optimizer.state.get(parameter)
            if group is None:
                if state:
                    raise OptimizerError(
                        f"'{edit.name}' was in the {kind}, and no longer is, though its state is there: leave its "
                        f"layer out by exclude=[...], or {LEAVE}"
                    )
                continue
            self._family.check(edit.name, parameter, self._optimizer)
            if not state:
                continue
            if parameter.is_complex():
                raise OptimizerError(
                    f"'{edit.name}' is complex: its optimizer state cannot be edited for one filter; leave its layer "
                    f"out by exclude=[...], or {LEAVE}"
                )
            mask = edit.mask.to(parameter.device)
            yield Target(name=edit.name, parameter=parameter, mask=mask, group=group)

    def check(self, edits: Iterable[Edit]) -> tuple[Target, ...]:
        """Find what of some edits concerns this optimizer's state, and write nothing.

        Args:
            edits: What is to be renewed.

        Returns:
            For `begin`: without buffers, living entries that are only shifted, and what another optimizer holds. A
            tensor that the optimizer has not stepped yet has nothing to forget.

        Edge cases:
            A parameter is complex, or has left the optimizer, or the optimizer remembers of it what cannot be edited
            for one filter: an OptimizerError.
        """
        return tuple(self._targets(edits))

    def reset(self, edits: Iterable[Edit]) -> None:
        """Forget what the optimizer remembers of the edited entries: `check` and `begin` in one.

        Args:
            edits: What was renewed.

        Edge cases:
            What `check` refuses is refused here too, and nothing is changed then.
        """
        self.begin(self.check(edits))

    def begin(self, targets: Iterable[Target]) -> None:
        """Let entries that were renewed begin anew in the optimizer.

        Args:
            targets: What `check` has found, in this same step.
        """
        defaults = self._optimizer.defaults
        with torch.no_grad():
            for target in targets:
                parameter, mask, group = target.parameter, target.mask, target.group
                state = self._optimizer.state[parameter]
                self._family.forget_(parameter, state, mask, group=group, defaults=defaults)
                if self._family.remembers(group):
                    aligned = mask.reshape((1,) * (parameter.dim() - mask.dim()) + mask.shape)
                    name = self._names[target.name]
                    self._correction.enter(parameter, aligned, group=group, name=name)

    def clear(self, edits: Iterable[Edit]) -> None:
        """Forget what the optimizer remembers of entries that leave the network: zeros, and nothing to correct.

        Args:
            edits: What is set to zero; buffers are skipped.
        """
        with torch.no_grad():
            for edit in edits:
                for value in self.remembered(edit.name).values():
                    value.masked_fill_(edit.mask.to(value.device), 0.0)

    def remembered(self, name: str) -> dict[str, Tensor]:
        """What the optimizer remembers of a parameter entry by entry.

        Args:
            name: The parameter's.

        Returns:
            Its own tensors of the parameter's shape, by key; none where it has not stepped it, or does not hold it.
        """
        parameter = self._parameters.get(name)
        if parameter is None:
            return {}
        return {
            key: value
            for key, value in self._optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor) and value.shape == parameter.shape
        }

    def before_step(self) -> None:
        """Look at tensors with young entries right before the optimizer's step, where that is needed."""
        self._correction.before_step()

    def after_step(self) -> None:
        """Make the step that the optimizer has just made right for entries younger than their tensor.

        Edge cases:
            A step was made, and `before_step`, which this optimizer needs, was not called before it: an OptimizerError.
            Called again after the same step (by a second recipe on this optimizer): nothing is left to do.
            A tensor without gradient, a fused step that a gradient scaler has cancelled: nobody has grown older.
        """
        self._correction.after_step()

    def _mine(self) -> dict[str, nn.Parameter]:
        """Every parameter once, under its first name."""
        return {name: self._parameters[name] for name in dict.fromkeys(self._names.values())}

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on: the family's name, and tensors by parameter name."""
        held = self._correction.groups()  # what has left the optimizer is not in its state either
        found = {
            name: self._correction.memory(one)
            for name, one in self._mine().items()
            if id(one) in held
        }
        young = {name: memory for name, memory in found.items() if memory is not None}
        return {"family": type(self._family).__name__, "young": young}

    def check_state(self, state: object) -> None:
        """Raise what `load_state_dict` would raise, and change nothing.

        Args:
            state: What is to be loaded.

        Raises:
            StateError: The state is not whole, that of another kind of optimizer or of other parameters, or the
                optimizer's own was not loaded.
        """
        whole = _mapping(state, of="the optimizer surgeon")
        mine = type(self._family).__name__
        missing = sorted({"family", "young"} - set(whole))
        if missing:
            raise StateError(f"the saved state of the optimizer surgeon lacks {', '.join(missing)}")
        if whole["family"] != mine:
            raise StateError(
                f"the saved state is of the optimizer family {whole['family']!r}, this one is {mine!r}"
            )
        young = _mapping(whole["young"], of="the young entries")
        parameters, groups = self._mine(), self._correction.groups()
        held = {name for name, parameter in parameters.items() if id(parameter) in groups}
        unknown = sorted(str(name) for name in set(young) - held)
        if unknown:
            kind = type(self._optimizer).__name__
            raise StateError(
                f"the saved state has parameters that are not in this {kind}: {', '.join(unknown)}"
            )
        for name, saved in young.items():
            memory, parameter = _mapping(saved, of=f"'{name}'"), parameters[name]
            remembered = self._optimizer.state.get(parameter)
            if not remembered or (self._family.counts and "step" not in remembered):
                raise StateError(
                    f"'{name}' has renewed filters in the saved state, and the {type(self._optimizer).__name__} has no "
                    f"state of it: load the optimizer's state too, before the regrower's"
                )
            of_family = set(self._family.newborn(remembered, groups[id(parameter)]))
            counted = set[str]() if self._family.counts else {"count"}
            check_memory(name, memory, shape=parameter.shape, entries=of_family, counts=counted)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; the optimizer's own is loaded before, by its own method.

        Args:
            state: What `state_dict` gave.

        Edge cases:
            What `check_state` refuses is a StateError, and nothing is changed.
        """
        self.check_state(state)
        for name, parameter in self._mine().items():
            memory = state["young"].get(name)
            self._correction.keep(
                parameter, None if memory is None else self._loaded(name, parameter, memory)
            )

    def _loaded(
        self, name: str, parameter: nn.Parameter, memory: Mapping[str, Tensor]
    ) -> Entry | None:
        family = self._family
        group = self._correction.groups()[id(parameter)]
        keys = family.newborn(self._optimizer.state[parameter], group)
        births = without(
            loaded(memory, device=parameter.device, keys=keys), older=None, horizon=None
        )
        if births is None:
            return None
        return Entry(
            name=name,
            parameter=parameter,
            births=births,
            seen=memory["seen"],
            waited=int(memory["waited"]),
            count=None if family.counts else memory["count"].to("cpu"),
        )


def _mapping(value: object, *, of: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise StateError(f"the saved state of {of} must be a dict, got {type(value).__name__}")
    return cast("Mapping[Any, Any]", value)
