"""The steps of one optimizer, made right for entries younger than their tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.surgery.bundle import Young, births, settle_together
from regrow.surgery.optimizers import Before, Family, Made, is_coarse
from regrow.surgery.young import Memory, Places, ages, grown_up, places, with_births, young_part


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tensor with young entries.

    Attributes:
        name: By which messages call it.
        memory: What is kept of them.
        at: Where they are.
        births: Their births alone.
    """

    name: str
    memory: Memory
    at: Places
    births: Tensor


class Correction:
    """All young entries of one optimizer, by parameter: whoever renews filters of it, they are corrected once.

    Args:
        optimizer: The optimizer.
        family: Of the optimizer.
    """

    def __init__(self, optimizer: Optimizer, family: Family) -> None:
        self.optimizer = optimizer
        self.family = family
        self._young: dict[nn.Parameter, Entry] = {}
        self._before: dict[nn.Parameter, Before] = {}

    def groups(self) -> dict[int, dict[str, Any]]:
        """The options by the identity of a parameter, looked up anew: loading a state replaces the groups."""
        return {
            id(parameter): group
            for group in self.optimizer.param_groups
            for parameter in group["params"]
        }

    def memory(self, parameter: nn.Parameter) -> Memory | None:
        """What is kept of a tensor; None: nobody in it is young.

        Args:
            parameter: The tensor.

        Returns:
            Its memory; not to be written into.
        """
        entry = self._young.get(parameter)
        return None if entry is None else entry.memory

    def keep(self, parameter: nn.Parameter, memory: Memory | None, *, name: str) -> None:
        """Put what is kept of a tensor in the place of what was.

        Args:
            parameter: The tensor.
            memory: Its memory; None: nobody is young.
            name: By which messages call it.
        """
        self._before.pop(parameter, None)
        at = None if memory is None else places(memory)
        if memory is None or at is None:
            self._young.pop(parameter, None)
            return
        born = births(memory["born"], at, parameter.shape)
        self._young[parameter] = Entry(name=name, memory=memory, at=at, births=born)

    def enter(
        self, parameter: nn.Parameter, mask: Tensor, *, group: Mapping[str, Any], name: str
    ) -> None:
        """Entries begin anew.

        Args:
            parameter: Their tensor, which the optimizer has stepped before.
            mask: True where they are; the axes of the tensor, some of size 1.
            group: The options.
            name: By which messages call it.
        """
        memory, family = self.memory(parameter), self.family
        state = self.optimizer.state[parameter]
        own = memory["count"] if memory and not family.counts else torch.zeros(())
        now: Tensor = state["step"] if family.counts else own
        newborn, horizon = family.newborn(state, group), family.horizon(group)
        memory = with_births(memory, mask, now=now, newborn=newborn, horizon=horizon)
        if not family.counts:
            memory["count"] = now
        self.keep(parameter, memory, name=name)

    def before_step(self) -> None:
        """Look at tensors with young entries right before the optimizer's step, where that is needed.

        Edge cases:
            The optimizer's state of a tensor has been cleared: all of it begins anew, and nobody is younger than that.
        """
        if not self._young:
            return
        self._before = {}
        groups, family = self.groups(), self.family
        with torch.no_grad():
            for parameter, entry in list(self._young.items()):
                group, state = _of(parameter, entry, groups, self.optimizer)
                if not state:
                    del self._young[parameter]
                    continue
                if parameter.grad is None:
                    continue
                if family.counts:
                    family.prepare_(state, entry.memory["born"] == state["step"], group=group)
                if family.reads_before(group, coarse=is_coarse(parameter)):
                    copied, at = family.overwrites_grad(group), entry.at
                    self._before[parameter] = Before(
                        value=parameter.detach()[at].clone(),
                        grad=parameter.grad.clone() if copied else parameter.grad,
                        copied=copied,
                        state={key: state[key][at].clone() for key in family.kept},
                        count=state["step"].clone() if family.counts else None,
                    )

    def after_step(self) -> None:
        """Make the step that the optimizer has just made right for entries younger than their tensor."""
        if not self._young:
            return
        before, self._before = self._before, {}
        cancelled = getattr(self.optimizer, "found_inf", None)
        if cancelled is not None and bool(cancelled):
            return
        groups = self.groups()
        bundles: dict[tuple[object, ...], list[nn.Parameter]] = {}
        with torch.no_grad():
            for parameter, entry in list(self._young.items()):
                group, state = _of(parameter, entry, groups, self.optimizer)
                if not state:
                    del self._young[parameter]
                elif self.family.can_do_without and parameter not in before:
                    alike = (id(group), parameter.dtype, parameter.device)
                    bundles.setdefault(alike, []).append(parameter)
                else:
                    self._settle(parameter, before.get(parameter), group)
            for parameters in bundles.values():
                self._settle_together(parameters, groups[id(parameters[0])])

    def _settle_together(
        self, parameters: Iterable[nn.Parameter], group: Mapping[str, Any]
    ) -> None:
        """Families whose step is a function of the state after it: all tensors at once."""
        members: list[Young] = []
        for parameter in parameters:
            entry, state = self._young[parameter], self.optimizer.state[parameter]
            step: Tensor = state["step"]
            moved = step != entry.memory["seen"].to(step.device)
            if step.device.type == "cpu" and not bool(moved):
                continue
            members.append(
                Young(
                    parameter=parameter,
                    state=state,
                    at=entry.at,
                    born=entry.births,
                    step=step,
                    moved=moved,
                )
            )
        if not members:
            return
        settle_together(members, family=self.family, group=group)
        for member in members:
            self._age(member.parameter, {}, step=member.step, group=group)

    def _settle(
        self, parameter: nn.Parameter, before: Before | None, group: Mapping[str, Any]
    ) -> None:
        entry, family = self._young[parameter], self.family
        state, at = self.optimizer.state[parameter], entry.at
        step = self._count(parameter, entry.memory, before)
        moved = step != entry.memory["seen"].to(step.device)
        if step.device.type == "cpu" and not bool(moved):
            return
        if family.reads_before(group, coarse=False) and not self._in_time(before, entry.name, step):
            return
        part = young_part(entry.memory, at)
        age, young = ages(part, step=step, moved=moved, horizon=family.horizon(group))
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
        changed: Memory = {} if family.counts else {"count": step}
        for key, value in due.memory.items():
            changed[key] = entry.memory[key].clone()
            _write_(changed[key], at, young, value)
        self._age(parameter, changed, step=step, group=group)

    def _age(
        self, parameter: nn.Parameter, changed: Memory, *, step: Tensor, group: Mapping[str, Any]
    ) -> None:
        entry = self._young[parameter]
        memory = {
            **entry.memory,
            **changed,
            "waited": entry.memory["waited"] + 1,
            "seen": step.detach().clone(),
        }
        self._young[parameter] = replace(entry, memory=memory)
        if grown_up(memory, now=step, horizon=self.family.horizon(group)):
            del self._young[parameter]

    def _count(self, parameter: nn.Parameter, memory: Memory, before: Before | None) -> Tensor:
        """The tensor's count of updates; the surgeon's own where the optimizer has none."""
        if self.family.counts:
            return self.optimizer.state[parameter]["step"]
        return memory["count"] if before is None else memory["count"] + 1

    def _in_time(self, before: Before | None, name: str, step: Tensor) -> bool:
        """Whether a tensor was seen before its step; on the CPU, where it has surely moved, it must have been."""
        if step.device.type != "cpu":
            return before is not None
        if before is None or (before.count is not None and bool(before.count == step)):
            raise OptimizerError(
                f"{type(self.optimizer).__name__} has stepped '{name}' without before_step() "
                f"right before it: it needs hooks=True"
            )
        return True


def _of(
    parameter: nn.Parameter,
    entry: Entry,
    groups: Mapping[int, dict[str, Any]],
    optimizer: Optimizer,
) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """The options and the optimizer's state of a tensor with young entries."""
    group = groups.get(id(parameter))
    if group is None:
        raise OptimizerError(
            f"'{entry.name}' was in the {type(optimizer).__name__} when its filters were renewed, and no longer is: "
            f"detach, and attach again"
        )
    return group, optimizer.state.get(parameter)


def _write_(tensor: Tensor, at: Places, where: Tensor, value: Tensor) -> None:
    """New values in the marked entries of a part, rounded once; all other entries keep their bits."""
    tensor[at] = torch.where(where, value.to(tensor.dtype), tensor[at])
