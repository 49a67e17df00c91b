"""What one pass shows of one layer: who was seen, who was silent, who heard nothing but constants.

Called by `activity/meter.py` while a pass runs; its `PassReading`s go to `loop/activity`, which merges those of a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regrow.activity.outlet_range import OutletRange
from regrow.activity.pass_tensors import PassTensors, a_few
from regrow.activity.silence import silent
from regrow.graph.flows import Flow


@dataclass(frozen=True, kw_only=True)
class PassReading:
    """What one pass has shown of one layer."""

    seen: Tensor  # filters that gave something, and all of what they gave was read, (O,) bool
    silent: Tensor  # all of it was the same, (O,) bool
    constant: Tensor  # the value itself where it was, (O,)
    starved: Tensor  # what the filter heard did not change, (O,) bool
    examples: int  # number of examples
    # Sum, sum of absolute values, number of positive ones and number of all values, (4, O) float64, and where
    # somebody asks for it the sum of distances from a centre, (5, O); or None.
    sums: Tensor | None = None
    # Of each outlet the sum at each of its places, (P,) float64, and the number of values at each; None and 0 where
    # there are no sums.
    placed: tuple[tuple[Tensor | None, int], ...] = ()
    lively: bool = False  # known without a look at the tensors: all were seen, and none was silent
    # Some of it came another way than the one that was traced, and is not judged.
    strange: bool = False


class LayerPass:
    """What the pass that is under way has shown of one layer so far."""

    def __init__(self, flow: Flow, count: int, *, groups: int, device: torch.device) -> None:
        self.outlets = [OutletRange(each, count, device) for each in flow.outlets]
        self._axis = flow.inlet_axis
        self._count = count  # how many they are
        self._groups = groups  # of its convolution
        self.device = device  # where the layer is
        self._constant: Tensor | None = None
        self._moved = False
        self._heard: list[tuple[Tensor, int]] = []
        self._nobody = torch.zeros(count, dtype=torch.bool, device=device)
        self._lively = PassReading(
            seen=~self._nobody,
            silent=self._nobody,
            constant=torch.full((count,), torch.nan, dtype=torch.float32, device=device),
            starved=self._nobody,
            examples=0,
            lively=True,
        )

    def hear(self, x: Tensor) -> None:
        """Take what the layer is called with: it is looked at only if one of its filters turns out to be silent."""
        if x.numel() and -x.ndim <= self._axis < x.ndim:
            # Kept and not read: nobody is silent in nearly every pass, and then what was heard does not matter.
            self._heard.append((x.detach(), x._version))  # pyright: ignore[reportPrivateUsage]

    def give(
        self, outlet: int, x: Tensor, *, sums: bool, ranges: bool, tensors: PassTensors
    ) -> None:
        """Take what filters give at one outlet, by its number in `outlets`."""
        self.outlets[outlet].read(x, sums=sums, ranges=ranges, tensors=tensors)
        if self._heard and all(each.examples for each in self.outlets):
            if not all(each.lively for each in self.outlets):
                self._listen()
            self._heard.clear()

    def _listen(self) -> None:
        """Which of the channels that were heard are constant."""
        for given, version in self._heard:
            # An in-place ReLU in front of the next layer may have changed it since: to read it now would be to read
            # something else.
            if given._version != version:  # pyright: ignore[reportPrivateUsage]
                for outlet in self.outlets:  # it was written into, and what was heard is gone
                    outlet.broken = True
                continue
            rest = [axis for axis in range(given.ndim) if axis != given.ndim + self._axis]
            if given.device.type == "cpu":
                few = a_few(given, rest)
                moving = (few.amax(rest) != few.amin(rest)).reshape(self._groups, -1)
                if bool(moving.any(1).all()):  # nobody is starved who hears a channel that moves
                    self._moved = True
                    continue
            low, high = given.amin(rest).float(), given.amax(rest).float()
            # A single value is constant if it is 0.
            values = torch.full(low.shape, given.numel() // len(low), device=low.device)
            largest = torch.maximum(low.abs(), high.abs()).amax()
            found = silent(low, high, largest=largest, values=values)
            self._constant = found if self._constant is None else self._constant & found

    def end(self) -> PassReading | None:
        """What the pass has shown; None where the layer gave nothing. The next one begins."""
        found = self._lively_reading()
        if found is None:
            self._listen()
        strange = any(outlet.broken for outlet in self.outlets)
        told = [] if found is not None else [(each, each.silent()) for each in self.outlets]
        alone = told[0][1] if len(told) == 1 else None
        if alone is not None and self.outlets[0].covers and not strange:
            outlet = self.outlets[0]
            found = replace(
                self._lively,
                silent=alone[0],
                constant=alone[1],
                starved=self._starved(),
                examples=outlet.examples,
                sums=outlet.sums,
                placed=() if outlet.sums is None else self._placed(),
                lively=False,
            )
        elif any(result is not None for _, result in told):
            seen, is_silent, constant = self._nobody, ~self._nobody, self._lively.constant
            sums: Tensor | None = None
            for outlet, result in told:
                if result is not None:
                    is_silent = is_silent & result[0]
                    seen = seen | outlet.covered
                    constant = torch.where(outlet.covered & constant.isnan(), result[1], constant)
                if outlet.sums is not None:
                    sums = outlet.sums if sums is None else sums + outlet.sums
            for outlet in self.outlets:
                if outlet.broken:
                    seen = seen & ~outlet.covered
            found = PassReading(
                seen=seen,
                silent=is_silent & seen,
                constant=constant,
                starved=self._starved(),
                examples=max(outlet.examples for outlet in self.outlets),
                sums=sums,
                placed=() if sums is None else self._placed(),
                strange=strange,
            )
        elif strange and found is None:
            found = replace(self._lively, seen=self._nobody, examples=0, strange=True, lively=False)
        for outlet in self.outlets:
            outlet.reset()
        self._constant, self._moved = None, False
        self._heard.clear()
        return found

    def _lively_reading(self) -> PassReading | None:
        """Where everybody is living, as nearly always, nothing is worked out."""
        given = [outlet for outlet in self.outlets if outlet.examples]
        if any(outlet.broken for outlet in self.outlets) or not all(each.lively for each in given):
            return None
        if not any(outlet.covers for outlet in given):
            return None
        sums = [outlet.sums for outlet in given if outlet.sums is not None]
        examples = max(outlet.examples for outlet in given)
        if sums:
            return replace(
                self._lively,
                examples=examples,
                sums=sums[0] if len(sums) == 1 else torch.stack(sums).sum(0),
                placed=self._placed(),
            )
        if examples != self._lively.examples:  # the next pass has as many, and it is made once
            self._lively = replace(self._lively, examples=examples)
        return self._lively

    def _placed(self) -> tuple[tuple[Tensor | None, int], ...]:
        return tuple(
            (None, 0) if each.broken else (each.placed, each.given) for each in self.outlets
        )

    def _starved(self) -> Tensor:
        """Filters that hear channels of their group alone, none of which changed."""
        if self._constant is None or self._moved:
            return self._nobody
        by_group = self._constant.reshape(self._groups, -1).all(1)
        return by_group.repeat_interleave(self._count // self._groups)
