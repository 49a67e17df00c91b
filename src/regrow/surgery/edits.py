"""Write edits: into the model's tensors, and into what an optimizer keeps of them.

Called by `loop/renewer`; an `OptimizerSurgeon` hands what is young to `surgery/young`, and steps are made right by
`surgery/correction`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.renewal import Edit
from regrow.surgery.correction import Correction
from regrow.surgery.optimizers.base import LEAVE, options_by_parameter
from regrow.surgery.saved_young import check_saved_young, loaded, saved
from regrow.surgery.trial import tried_family
from regrow.surgery.young import begin_


def apply_edits_(tensors: Mapping[str, Tensor], edits: Iterable[Edit]) -> None:
    """Carry out edits on live tensors.

    The tensors keep their identity, so that optimizers, compiled graphs and wrappers which hold them
    go on; autograd is told (no ``.data``), so that an edit between a forward and its backward pass
    is an error and not a wrong gradient. Entries outside the mask keep their bits.
    """
    with torch.no_grad():
        for edit in edits:
            tensor = tensors[edit.name]
            value = torch.as_tensor(edit.value, dtype=tensor.dtype, device=tensor.device)
            tensor.copy_(torch.where(edit.mask.to(tensor.device), value, tensor))


@dataclass(frozen=True, kw_only=True)
class Target:
    """One edit of a parameter that the optimizer has stepped, and whose state can be edited."""

    name: str
    parameter: nn.Parameter
    mask: Tensor
    group: dict[str, Any]


class OptimizerSurgeon:
    """Keeps the state of renewed entries as if they were alone in their optimizer.

    What is kept of an entry is given the value of a fresh one. What an optimizer has once for a whole tensor (a step
    count, a product of momenta, a learning rate) is left to the neighbours, and for entries younger than their tensor
    each step is made right, after the optimizer has made it, with a count of their own. Two ways, whichever is exact at
    the least cost (see the families): Adam's kin have a step that is a function of their state after it, so that a
    difference is added; for the others the tensor is kept right before the step, and the young entries' new value is
    computed from it and written over. Neither touches an entry that is not young. An age is dropped when it no longer
    matters.
    """

    def __init__(
        self,
        optimizer: Optimizer,  # its state is edited, its options are never touched
        # All parameters that may be edited, by name. Whether the optimizer holds one is looked up when it is
        # edited, and others are skipped. One parameter may have several names.
        parameters: Mapping[str, nn.Parameter],
        *,
        # ``exact``, or ``zero``: exact where that is known, and for optimizers that are not known every state
        # tensor of the parameter's shape is zeroed, and that is all.
        reset_state: Literal["exact", "zero"] = "exact",
        # Another surgeon at work on the same optimizer, under whatever names: the two share the young entries, so
        # that each step is made right once.
        other: OptimizerSurgeon | None = None,
        # Whether entries that begin anew have a count of their own from then on. False: what is kept of them is
        # that of fresh ones, while their tensor's count goes on for them.
        ages: bool = True,
    ) -> None:
        self._ages = ages
        self._optimizer = optimizer
        self._family = tried_family(optimizer, reset_state=reset_state)
        self._parameters = dict(parameters)
        first: dict[int, str] = {}
        # Tied weights: under two names it is one tensor still, and has one name in a saved state.
        self._names = {
            name: first.setdefault(id(parameter), name) for name, parameter in parameters.items()
        }
        if other is not None and other._optimizer is not optimizer:
            raise ValueError("surgeons share young entries on one optimizer only")
        self._correction = (
            Correction(optimizer, self._family) if other is None else other._correction
        )
        # The young entries by tensor. While there are none, nothing need be done around a step.
        self.young = self._correction.young

    @property
    def needs_pre_step(self) -> bool:
        """Whether `before_step` must run before each optimizer step, so that a loop without hooks will not do."""
        return any(self._family.needs_pre_step(group) for group in self._optimizer.param_groups)

    def check(self, edits: Iterable[Edit]) -> list[Target]:
        """Find what of some edits concerns this optimizer's state, and write nothing.

        Not buffers, living entries that are only shifted, and what another optimizer holds. A tensor that the optimizer
        has not stepped yet has nothing to forget.
        """
        found: list[Target] = []
        groups, kind = options_by_parameter(self._optimizer), type(self._optimizer).__name__
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
            self._family.check(edit.name, parameter, self._optimizer, group=group)
            if not state:
                continue
            if parameter.is_complex():
                raise OptimizerError(
                    f"'{edit.name}' is complex: its optimizer state cannot be edited for one filter; leave its layer "
                    f"out by exclude=[...], or {LEAVE}"
                )
            mask = edit.mask.to(parameter.device)
            found.append(Target(name=edit.name, parameter=parameter, mask=mask, group=group))
        return found

    def reset(self, edits: Iterable[Edit]) -> None:
        """Begin the optimizer's state of the edited entries anew; where `check` refuses, nothing is changed."""
        self.begin(self.check(edits))

    def begin(self, targets: Iterable[Target]) -> None:
        """Let entries that were renewed begin anew in the optimizer."""
        with torch.no_grad():
            for target in targets:
                name, group = self._names[target.name], target.group
                begin_(
                    self.young,
                    target.parameter,
                    target.mask,
                    optimizer=self._optimizer,
                    family=self._family,
                    group=group,
                    name=name,
                    ages=self._ages,
                )

    def clear(self, edits: Iterable[Edit]) -> None:
        """Set the optimizer's state of entries that leave the network to zero; there is nothing to correct."""
        with torch.no_grad():
            for edit in edits:
                for value in self.state_of(edit.name).values():
                    value.masked_fill_(edit.mask.to(value.device), 0.0)

    def state_of(self, name: str) -> dict[str, Tensor]:
        """What the optimizer keeps of a parameter entry by entry."""
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
        """Make the step that the optimizer has just made right for entries younger than their tensor."""
        self._correction.after_step()

    def _mine(self) -> dict[str, nn.Parameter]:
        """Every parameter once, under its first name."""
        return {name: self._parameters[name] for name in dict.fromkeys(self._names.values())}

    def state_dict(self) -> dict[str, Any]:
        """What is needed to resume: the family's name, and tensors by parameter name."""
        held = options_by_parameter(self._optimizer)  # what has left it is not in its state either
        young = {
            name: saved(self.young[parameter])
            for name, parameter in self._mine().items()
            if id(parameter) in held and parameter in self.young
        }
        return {"family": type(self._family).__name__, "young": young}

    def check_state(self, state: object) -> None:
        """Raise the StateError that `load_state_dict` would raise, and change nothing."""
        check_saved_young(
            state, family=self._family, optimizer=self._optimizer, parameters=self._mine()
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state; the optimizer's own is loaded before, by its own method."""
        self.check_state(state)
        groups = options_by_parameter(self._optimizer)
        for name, parameter in self._mine().items():
            own = state["young"].get(name)
            entries = None
            if own is not None:
                keys = self._family.newborn(self._optimizer.state[parameter], groups[id(parameter)])
                counts = self._family.counts
                entries = loaded(own, name=name, parameter=parameter, keys=keys, counts=counts)
            self._correction.replace(parameter, entries)
