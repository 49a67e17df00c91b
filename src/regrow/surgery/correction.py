"""The steps of one optimizer, made right for entries younger than their tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.surgery.blocks import settle_in_blocks
from regrow.surgery.bundle import Stepped, settle_together, table_of
from regrow.surgery.entry import Entry
from regrow.surgery.optimizers import Before, Family, Made, MomentFamily, is_coarse
from regrow.surgery.young import Places, ages, oldest_of_all, since, still_young, with_births


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

    def memory(self, parameter: nn.Parameter) -> dict[str, Tensor] | None:
        """What is kept of a tensor, as it is saved.

        Args:
            parameter: The tensor.

        Returns:
            Tensors by name, not to be written into; None: nobody in it is young.
        """
        entry = self._young.get(parameter)
        return None if entry is None else entry.memory()

    def keep(self, parameter: nn.Parameter, entry: Entry | None) -> None:
        """Put what is kept of a tensor in the place of what was.

        Args:
            parameter: The tensor.
            entry: What is kept; None: nobody is young.
        """
        self._before.pop(parameter, None)
        if entry is None:
            self._young.pop(parameter, None)
        else:
            self._young[parameter] = entry

    def enter(
        self, parameter: nn.Parameter, mask: Tensor, *, group: Mapping[str, Any], name: str
    ) -> None:
        """Entries begin anew.

        Where no entry of a tensor is old any more, the optimizer is told to count from the earliest birth that is left:
        with all born at once its own steps are right then.

        Args:
            parameter: Their tensor, which the optimizer has stepped before. Its count may be set back.
            mask: True where they are; the axes of the tensor, some of size 1.
            group: The options.
            name: By which messages call it.
        """
        entry, family = self._young.get(parameter), self.family
        state = self.optimizer.state[parameter]
        count = None
        if not family.counts:
            known = None if entry is None else entry.count
            count = torch.zeros((), device="cpu") if known is None else known
        now: Tensor = state["step"] if count is None else count
        if family.only_counts and not bool(now):
            return  # all of the tensor was renewed right before, and nobody is younger than that
        births = with_births(
            None if entry is None else entry.births,
            mask,
            now=now,
            newborn=family.newborn(state, group),
            horizon=family.horizon(group),
        )
        first = oldest_of_all(births) if births is not None and family.only_counts else 0
        if births is not None and first:
            now.sub_(births.counts[first].to(now.device))
            births = since(births, first)
        kept = None
        if births is not None:
            seen = now.detach().clone()
            kept = Entry(name=name, parameter=parameter, births=births, seen=seen, count=count)
        self.keep(parameter, kept)

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
                group, state = groups.get(id(parameter)), self.optimizer.state.get(parameter)
                if not state:
                    del self._young[parameter]
                    continue
                if parameter.grad is None or group is None:  # it may come back into the optimizer
                    continue
                if family.prepares:
                    first = entry.births.counts == state["step"]
                    first[0] = False
                    family.prepare_(state, first[entry.births.numbers()], group=group)
                if family.reads_before(group, coarse=is_coarse(parameter)):
                    copied, (at, _) = family.overwrites_grad(group), entry.young
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
        groups, family = self.groups(), self.family
        bundles: dict[tuple[object, ...], list[Entry]] = {}
        with torch.no_grad():
            for parameter, entry in list(self._young.items()):
                group, state = groups.get(id(parameter)), self.optimizer.state.get(parameter)
                if not state:
                    del self._young[parameter]
                elif group is None:  # it may come back into the optimizer
                    continue
                elif isinstance(family, MomentFamily) and parameter not in before:
                    alike = (id(group), parameter.dtype, parameter.device)
                    bundles.setdefault(alike, []).append(entry)
                else:
                    self._settle(entry, before.get(parameter), group)
            if isinstance(family, MomentFamily):
                for entries in bundles.values():
                    group = groups[id(entries[0].parameter)]
                    self._settle_together(entries, family=family, group=group)

    def _settle_together(
        self, entries: Iterable[Entry], *, family: MomentFamily, group: Mapping[str, Any]
    ) -> None:
        """Families whose step is a function of the state after it: all tensors at once."""
        chosen: list[Entry] = []
        stepped: list[Stepped] = []
        horizon = family.horizon(group)
        for entry in entries:
            state = self.optimizer.state[entry.parameter]
            step: Tensor = state["step"]
            moved = entry.moved(step)
            if moved is False or not self._has_young(entry, step, horizon=horizon):
                continue
            chosen.append(entry)
            stepped.append(
                Stepped(
                    parameter=entry.parameter,
                    state=state,
                    counts=entry.births.counts,
                    step=step,
                    moved=moved,
                )
            )
        if not chosen:
            return
        table = table_of(stepped, family=family, group=group)
        small: list[tuple[Stepped, int, Places, Tensor]] = []
        for index, (entry, member) in enumerate(zip(chosen, stepped, strict=True)):
            grid, own = entry.grid, [member.state[key] for key in family.moments(group)]
            if grid is None or not grid.fits([member.parameter, *own]):
                small.append((member, index, *entry.young))
                continue
            settle_in_blocks(
                member.parameter,
                member.state,
                grid=grid,
                factors=table.of(index, member.counts.shape[0]),
                family=family,
                group=group,
            )
        if small:
            settle_together(small, table, family=family, group=group)
        for entry, member in zip(chosen, stepped, strict=True):
            self._aged(entry, member.step, horizon=horizon)

    def _settle(self, entry: Entry, before: Before | None, group: Mapping[str, Any]) -> None:
        parameter, family, horizon = entry.parameter, self.family, self.family.horizon(group)
        state, step = self.optimizer.state[parameter], self._count(entry, before)
        moved = entry.moved(step)
        if moved is False:
            return
        if family.reads_before(group, coarse=False) and not self._in_time(before, entry.name, step):
            return
        at, numbers = entry.young
        births = entry.births
        age = ages(births.counts, step=step)
        young = still_young(age, moved=moved, horizon=horizon)
        grown = family.grown(births.kept, age=age, group=group)
        due = family.due(
            Made(
                parameter=parameter,
                state=state,
                at=at,
                group=group,
                step=step,
                age=age[numbers],
                memory={key: value[numbers] for key, value in grown.items()},
                before=before,
            )
        )
        if due.value is not None:
            _write_(parameter, at, young[numbers], due.value)
        for key, value in due.state.items():
            _write_(state[key], at, young[numbers], value)
        kept = {key: torch.where(young, grown[key], old) for key, old in births.kept.items()}
        entry.births = replace(births, kept=kept)
        if entry.count is not None:
            entry.count = step
        self._aged(entry, step, horizon=horizon)

    def _has_young(self, entry: Entry, step: Tensor, *, horizon: int | None) -> bool:
        """Whether this step must be made right: an option may have changed so that nobody is young any more."""
        if step.device.type == "cpu" and not entry.shed(step, horizon=horizon, by=1):
            del self._young[entry.parameter]
            return False
        return True

    def _aged(self, entry: Entry, step: Tensor, *, horizon: int | None) -> None:
        entry.aged(step)
        if not entry.shed(step, horizon=horizon):
            del self._young[entry.parameter]

    def _count(self, entry: Entry, before: Before | None) -> Tensor:
        """The tensor's count of updates; the surgeon's own where the optimizer has none."""
        if entry.count is None:
            return self.optimizer.state[entry.parameter]["step"]
        return entry.count if before is None else entry.count + 1

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


def _write_(tensor: Tensor, at: Places, where: Tensor, value: Tensor) -> None:
    """New values in the marked entries of a part, rounded once; all other entries keep their bits."""
    tensor[at] = torch.where(where, value.to(tensor.dtype), tensor[at])
