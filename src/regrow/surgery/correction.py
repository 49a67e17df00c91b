"""The steps of one optimizer, made right for entries younger than their tensor.

Called by `edits.py` around each step; many tensors at once are handed on to `bundle.py`, `blocks.py`
and `small.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.surgery.blocks import Scratch, settle_in_blocks
from regrow.surgery.bundle import (
    AgeTables,
    BirthsOfEntries,
    SteppedTensor,
    settle_together,
)
from regrow.surgery.optimizers.base import Family, options_by_parameter
from regrow.surgery.optimizers.moments import MomentFamily
from regrow.surgery.optimizers.step import Snapshot, YoungStep, is_coarse
from regrow.surgery.small import Small, SmallTensors
from regrow.surgery.young import (
    Count,
    Places,
    YoungEntries,
    ages,
    read,
    still_young,
)


class Correction:
    """All young entries of one optimizer, by parameter: whoever renews filters of it, they are corrected once."""

    def __init__(self, optimizer: Optimizer, family: Family) -> None:
        self.optimizer, self.family = optimizer, family
        self.young: dict[nn.Parameter, YoungEntries] = {}
        self._snapshots: dict[nn.Parameter, Snapshot] = {}
        self._scratch = Scratch()
        # By the parameter group, as all that is worked out once for many steps.
        self._tables: defaultdict[int, AgeTables] = defaultdict(AgeTables)
        self._births: defaultdict[int, BirthsOfEntries] = defaultdict(BirthsOfEntries)
        self._small: defaultdict[int, SmallTensors] = defaultdict(SmallTensors)

    def replace(self, parameter: nn.Parameter, entries: YoungEntries | None) -> None:
        """Put loaded young entries of a tensor in the place of what was; None: there are none."""
        self._snapshots.pop(parameter, None)
        if entries is None:
            self.young.pop(parameter, None)
        else:
            self.young[parameter] = entries

    def before_step(self) -> None:
        """Look at tensors with young entries right before the optimizer's step, where that is needed."""
        if not self.young:
            return
        self._snapshots = {}
        for parameter in [each for each in self.young if not self.optimizer.state.get(each)]:
            # Its state has been cleared: all of it begins anew, and nobody is younger than that.
            del self.young[parameter]
        if isinstance(self.family, MomentFamily) and not any(map(is_coarse, self.young)):
            return
        groups, family = options_by_parameter(self.optimizer), self.family
        with torch.no_grad():
            for parameter, entry in self.young.items():
                group, state = groups.get(id(parameter)), self.optimizer.state[parameter]
                if parameter.grad is None or group is None:  # it may come back into the optimizer
                    continue
                if family.prepares:
                    first = entry.births.counts == state["step"]
                    first[0] = False
                    family.prepare_(state, first[entry.births.numbers()], group=group)
                if family.reads_before(group, coarse=is_coarse(parameter)):
                    copied, (at, _) = family.overwrites_grad(group), entry.young
                    self._snapshots[parameter] = Snapshot(
                        value=parameter.detach()[at].clone(),
                        grad=parameter.grad.clone() if copied else parameter.grad,
                        copied=copied,
                        state={key: state[key][at].clone() for key in family.kept},
                        count=state["step"].clone() if family.counts else None,
                    )

    def after_step(self) -> None:
        """Make the step that the optimizer has just made right for entries younger than their tensor."""
        if not self.young:
            return
        before, self._snapshots = self._snapshots, {}
        # Called again after the same step (by a second recipe on this optimizer), nothing is left to do; of a tensor
        # without gradient, and of a fused step that a gradient scaler has cancelled, nobody has grown older.
        cancelled = getattr(self.optimizer, "found_inf", None)
        if cancelled is not None and bool(cancelled):
            return
        groups, family = options_by_parameter(self.optimizer), self.family
        bundles: dict[tuple[object, ...], list[YoungEntries]] = {}
        with torch.no_grad():
            for parameter, entry in list(self.young.items()):
                group, state = groups.get(id(parameter)), self.optimizer.state.get(parameter)
                if not state:
                    del self.young[parameter]
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
        self, entries: Iterable[YoungEntries], *, family: MomentFamily, group: Mapping[str, Any]
    ) -> None:
        """Families whose step is a function of the state after it: all tensors at once."""
        stepped: list[SteppedTensor] = []
        horizon = family.horizon(group)
        for entry in entries:
            state = self.optimizer.state[entry.parameter]
            now = read(state["step"])
            moved = entry.moved(now)
            if moved is False:
                continue
            if not isinstance(now, Tensor) and not entry.shed(now, horizon=horizon, by=1):
                # An option may have changed so that nobody is young any more.
                del self.young[entry.parameter]
                continue
            stepped.append(
                SteppedTensor(entry=entry, state=state, now=now, moved=moved, index=len(stepped))
            )
        if not stepped:
            return
        which, keys = id(group), family.moments(group)
        table = self._tables[which].now(stepped, family=family, group=group)
        small: list[Small] = []
        others: list[SteppedTensor] = []
        for member in stepped:
            grid, own = member.entry.grid, [member.state[key] for key in keys]
            if grid is None or not grid.fits([member.parameter, *own]):
                others.append(member)
                continue
            if grid.small:
                small.append((member, grid))
                continue
            settle_in_blocks(
                member, table, grid=grid, family=family, group=group, scratch=self._scratch
            )
        if small:
            self._small[which].settle(small, table, family=family, group=group)
        if others:
            births = self._births[which]
            settle_together(others, table, family=family, group=group, births=births)
        for member in stepped:
            self._aged(member.entry, member.now, horizon=horizon)

    def _settle(
        self, entry: YoungEntries, before: Snapshot | None, group: Mapping[str, Any]
    ) -> None:
        parameter, family, horizon = entry.parameter, self.family, self.family.horizon(group)
        state, step = self.optimizer.state[parameter], self._count(entry, before)
        now = read(step)
        moved = entry.moved(now)
        if moved is False:
            return
        if family.reads_before(group, coarse=False) and not self._in_time(before, entry.name, step):
            return
        at, numbers = entry.young
        births = entry.births
        age = ages(births.counts, step=step)
        young = still_young(age, moved=moved, horizon=horizon)
        grown = family.grown(births.kept, age=age, group=group)
        result = family.result(
            YoungStep(
                parameter=parameter,
                state=state,
                at=at,
                group=group,
                step=step,
                age=age[numbers],
                kept={key: value[numbers] for key, value in grown.items()},
                before=before,
            )
        )
        if result.value is not None:
            _write_(parameter, at, young[numbers], result.value)
        for key, value in result.state.items():
            _write_(state[key], at, young[numbers], value)
        kept = {key: torch.where(young, grown[key], old) for key, old in births.kept.items()}
        entry.births = replace(births, kept=kept)
        if entry.count is not None:
            entry.count = step
        self._aged(entry, now, horizon=horizon)

    def _aged(self, entry: YoungEntries, now: Count, *, horizon: int | None) -> None:
        entry.aged(now)
        if not entry.shed(now, horizon=horizon):
            del self.young[entry.parameter]

    def _count(self, entry: YoungEntries, before: Snapshot | None) -> Tensor:
        """The tensor's count of updates; the surgeon's own where the optimizer has none."""
        if entry.count is None:
            return self.optimizer.state[entry.parameter]["step"]
        return entry.count if before is None else entry.count + 1

    def _in_time(self, before: Snapshot | None, name: str, step: Tensor) -> bool:
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
