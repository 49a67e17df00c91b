"""The optimizer's memory of a renewed unit: what a fresh unit would have, without a trace in its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError, StateError
from regrow.renewal import Edit
from regrow.surgery.bundle import Young, births, settle_together
from regrow.surgery.optimizers import Before, Family, Made, family_of, is_coarse
from regrow.surgery.young import (
    Memory,
    Places,
    ages,
    check_memory,
    grown_up,
    placed,
    places,
    with_births,
    young_part,
)


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
        parameters: The parameters that may be edited, by name. One parameter may have several names.
        reset_state: ``exact``, or ``zero``: every state tensor of the parameter's shape is zeroed, and that is all.

    Edge cases:
        An optimizer that cannot be followed is an OptimizerError that says why, and what can be done.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parameters: Mapping[str, nn.Parameter],
        *,
        reset_state: Literal["exact", "zero"] = "exact",
    ) -> None:
        self._family: Family = family_of(optimizer, reset_state=reset_state)
        self._optimizer = optimizer
        self._parameters = dict(parameters)
        first: dict[int, str] = {}
        # Tied weights: under two names it is one tensor still, and ages once.
        self._names = {
            name: first.setdefault(id(parameter), name) for name, parameter in parameters.items()
        }
        self._young: dict[str, Memory] = {}
        self._at: dict[str, Places] = {}
        self._births: dict[str, Tensor] = {}
        self._before: dict[str, Before] = {}

    @property
    def needs_pre_step(self) -> bool:
        """Whether `before_step` must run before each optimizer step, so that a loop without hooks will not do."""
        return any(self._family.needs_pre_step(group) for group in self._optimizer.param_groups)

    def has_same_parameters(self, other: OptimizerSurgeon) -> bool:
        """Whether another surgeon does the same on the same optimizer and the same parameters under the same names."""
        mine, others = (
            {name: id(parameter) for name, parameter in surgeon._parameters.items()}
            for surgeon in (self, other)
        )
        same = self._optimizer is other._optimizer and self._family is other._family
        return same and mine == others

    def _groups(self) -> dict[int, dict[str, Any]]:
        """The options of each parameter, looked up anew: loading a state replaces the groups."""
        return {
            id(parameter): group
            for group in self._optimizer.param_groups
            for parameter in group["params"]
        }

    def _group(self, groups: Mapping[int, dict[str, Any]], name: str) -> dict[str, Any]:
        group = groups.get(id(self._parameters[name]))
        if group is None:
            raise OptimizerError(
                f"'{name}' was in the {type(self._optimizer).__name__} at attach, and no longer is: "
                f"detach, and attach again"
            )
        return group

    def reset(self, edits: Iterable[Edit]) -> None:
        """Forget what the optimizer remembers of the edited entries.

        Args:
            edits: What was renewed; buffers, and living entries that are only shifted, are skipped.

        Raises:
            OptimizerError: A parameter is complex, or has left the optimizer.

        Edge cases:
            A tensor that the optimizer has not stepped yet: there is nothing to forget.
        """
        groups = self._groups()
        with torch.no_grad():
            for edit in edits:
                parameter = self._parameters.get(edit.name)
                if not edit.is_parameter or not edit.fresh or parameter is None:
                    continue
                state = self._optimizer.state.get(parameter, {})
                if not state:
                    continue
                if parameter.is_complex():
                    raise OptimizerError(
                        f"'{edit.name}' is complex: its optimizer state cannot be edited for one filter; "
                        f"leave its layer out by exclude=[...], or reset_optimizer=False"
                    )
                mask, group = edit.mask.to(parameter.device), self._group(groups, edit.name)
                defaults = self._optimizer.defaults
                self._family.forget_(parameter, state, mask, group=group, defaults=defaults)
                if self._family.remembers(group):
                    aligned = mask.reshape((1,) * (parameter.dim() - mask.dim()) + mask.shape)
                    self._enter(self._names[edit.name], aligned, state, group)

    def _enter(
        self, name: str, mask: Tensor, state: Mapping[str, Any], group: dict[str, Any]
    ) -> None:
        memory = self._young.get(name)
        own = memory["count"] if memory and not self._family.counts else torch.zeros(())
        now: Tensor = state["step"] if self._family.counts else own
        newborn, horizon = self._family.newborn(state), self._family.horizon(group)
        memory = with_births(memory, mask, now=now, newborn=newborn, horizon=horizon)
        if not self._family.counts:
            memory["count"] = now
        self._keep(name, memory)

    def _keep(self, name: str, memory: Memory) -> None:
        at = places(memory)
        if at is None:
            self._young.pop(name, None)
        else:
            self._young[name], self._at[name] = memory, at
            self._births[name] = births(memory["born"], at, self._parameters[name].shape)

    def before_step(self) -> None:
        """Look at tensors with young entries right before the optimizer's step, where that is needed."""
        if not self._young:
            return
        self._before = {}
        groups, family = self._groups(), self._family
        with torch.no_grad():
            for name, memory in self._young.items():
                parameter, group = self._parameters[name], self._group(groups, name)
                if parameter.grad is None:
                    continue
                state = self._optimizer.state[parameter]
                if family.counts:
                    family.prepare_(state, memory["born"] == state["step"], group=group)
                if family.reads_before(group, coarse=is_coarse(parameter)):
                    copied, at = family.overwrites_grad(group), self._at[name]
                    self._before[name] = Before(
                        value=parameter.detach()[at].clone(),
                        grad=parameter.grad.clone() if copied else parameter.grad,
                        copied=copied,
                        state={key: state[key][at].clone() for key in family.kept},
                        count=state["step"].clone() if family.counts else None,
                    )

    def after_step(self) -> None:
        """Make the step that the optimizer has just made right for entries younger than their tensor.

        Edge cases:
            A step was made, and `before_step`, which this optimizer needs, was not called before it: an OptimizerError.
            Called again after the same step (by a second recipe on this optimizer): nothing is left to do.
            A tensor without gradient, a fused step that a gradient scaler has cancelled: nobody has grown older.
        """
        if not self._young:
            return
        before, self._before = self._before, {}
        cancelled = getattr(self._optimizer, "found_inf", None)
        if cancelled is not None and bool(cancelled):
            return
        groups = self._groups()
        bundles: dict[tuple[object, ...], list[str]] = {}
        with torch.no_grad():
            for name in list(self._young):
                group = self._group(groups, name)
                if self._family.can_do_without and name not in before:
                    parameter = self._parameters[name]
                    alike = (id(group), parameter.dtype, parameter.device)
                    bundles.setdefault(alike, []).append(name)
                else:
                    self._settle(name, before.get(name), group)
            for names in bundles.values():
                self._settle_together(names, self._group(groups, names[0]))

    def _settle_together(self, names: Iterable[str], group: dict[str, Any]) -> None:
        """Families whose step is a function of the state after it: all tensors at once."""
        members: dict[str, Young] = {}
        for name in names:
            parameter, memory = self._parameters[name], self._young[name]
            state = self._optimizer.state[parameter]
            step: Tensor = state["step"]
            moved = step != memory["seen"].to(step.device)
            if step.device.type == "cpu" and not bool(moved):
                continue
            members[name] = Young(
                parameter=parameter,
                state=state,
                at=self._at[name],
                born=self._births[name],
                step=step,
                moved=moved,
            )
        if not members:
            return
        settle_together(list(members.values()), family=self._family, group=group)
        horizon = self._family.horizon(group)
        for name, member in members.items():
            memory = self._young[name]
            memory = {
                **memory,
                "waited": memory["waited"] + 1,
                "seen": member.step.detach().clone(),
            }
            self._young[name] = memory
            if grown_up(memory, now=member.step, horizon=horizon):
                del self._young[name]

    def _settle(self, name: str, before: Before | None, group: dict[str, Any]) -> None:
        parameter, memory, family = self._parameters[name], self._young[name], self._family
        state = self._optimizer.state[parameter]
        step = self._count(name, before)
        moved = step != memory["seen"].to(step.device)
        if step.device.type == "cpu" and not bool(moved):
            return
        if family.reads_before(group, coarse=False) and not self._in_time(before, name, step):
            return
        horizon, at = family.horizon(group), self._at[name]
        part = young_part(memory, at)
        age, young = ages(part, step=step, moved=moved, horizon=horizon)
        due = family.due(
            Made(
                parameter=parameter,
                state=state,
                at=at,
                group=group,
                step=step,
                age=age,
                memory=part,
                before=before,
            )
        )
        if due.value is not None:
            _write_(parameter, at, young, due.value)
        for key, value in due.state.items():
            _write_(state[key], at, young, value)
        memory = {**memory, "waited": memory["waited"] + 1, "seen": step.detach().clone()}
        for key, value in due.memory.items():
            memory[key] = memory[key].clone()
            _write_(memory[key], at, young, value)
        self._young[name] = memory
        if grown_up(memory, now=step, horizon=horizon):
            del self._young[name]

    def _count(self, name: str, before: Before | None) -> Tensor:
        """The tensor's count of updates; the surgeon's own where the optimizer has none."""
        if self._family.counts:
            return self._optimizer.state[self._parameters[name]]["step"]
        memory = self._young[name]
        if before is not None:
            self._young[name]["count"] = memory["count"] + 1
        return memory["count"]

    def _in_time(self, before: Before | None, name: str, step: Tensor) -> bool:
        """Whether a tensor was seen before its step; on the CPU, where it has surely moved, it must have been."""
        if step.device.type != "cpu":
            return before is not None
        if before is None or (before.count is not None and bool(before.count == step)):
            raise OptimizerError(
                f"{type(self._optimizer).__name__} has stepped '{name}' without before_step() "
                f"right before it: it needs hooks=True"
            )
        return True

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on: the family's name, and tensors by parameter name."""
        young = {name: dict(memory) for name, memory in self._young.items()}
        return {"family": type(self._family).__name__, "young": young}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; the optimizer's own is loaded by its own method.

        Args:
            state: What `state_dict` gave.

        Raises:
            StateError: The state is that of another kind of optimizer, or of other parameters; nothing is changed.
        """
        mine = type(self._family).__name__
        missing = sorted({"family", "young"} - set(state))
        if missing:
            raise StateError(f"the saved state of the optimizer surgeon lacks {', '.join(missing)}")
        if state["family"] != mine:
            raise StateError(
                f"the saved state is of the optimizer family {state['family']!r}, this one is {mine!r}"
            )
        unknown = sorted(set(state["young"]) - set(self._names.values()))
        if unknown:
            raise StateError(
                f"the saved state has parameters that are not watched here: {', '.join(unknown)}"
            )
        for name, memory in state["young"].items():
            check_memory(name, memory, shape=self._parameters[name].shape)
        self._young, self._at, self._births, self._before = {}, {}, {}, {}
        for name, memory in state["young"].items():
            self._keep(name, placed(memory, self._parameters[name].device))


def _write_(tensor: Tensor, at: Places, where: Tensor, value: Tensor) -> None:
    """New values in the marked entries of a part, rounded once; all other entries keep their bits."""
    tensor[at] = torch.where(where, value.to(tensor.dtype), tensor[at])
