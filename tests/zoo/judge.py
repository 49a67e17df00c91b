"""The judge of a whole network's wiring: one filter a layer is disturbed, and what changes is compared with the wiring.

The network runs once and every convolution's and linear layer's input and output are kept. Then it runs again with each
of these layers giving its kept output, whatever it is given, but for one filter's channel, which is disturbed. If the
wiring is right, the inputs of that filter's readers differ from what they were in exactly the channels that are named,
and no other layer's input, and nothing in the output, differs by a bit. That is what setting the readers' weights to
zero shows too (`graph/oracle.py`); here it takes one run for many filters, because the examples of a batch do not see
each other: each of them is another filter's. All comparisons are between runs of the same shapes, so rounding is alike.

A named channel may hide behind a zero: a gate's filter multiplies a channel that a ReLU has closed. What the layers
give need not be what they worked out, so it is then drawn at random instead, again and again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from graph.oracle import redraw
from regrow.graph import Filters, Wiring
from regrow.graph.undisturbed import undisturbed

_Calls = dict[str, list[Tensor]]

_AT_ONCE = 16
"""Examples in a batch."""

_SCALES = ((1.0, -3.0), *((1.0, -1.0, 0.1, -0.1, 10.0, -10.0, 1e3, -1e3, 1e5, -1e5),) * 12)
"""Sizes of the disturbances in units of the layer's spread; all but the first two for those with channels unseen."""

_ONE_SIGN = 10.0
"""From this size on all positions are moved the same way, through however many closed ReLUs."""


@dataclass(frozen=True)
class Findings:
    """What the judge found.

    Attributes:
        judged: Number of filters.
        missed: Readers, or channels of readers, that are not named.
        unseen: Channels that are named and never changed.
        misplaced: Filters whose own entries are not where the wiring says.
        skipped: Layers that cannot be judged this way, with the reason.
    """

    judged: int = 0
    missed: list[str] = field(default_factory=list[str])
    unseen: list[str] = field(default_factory=list[str])
    misplaced: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])

    @property
    def wrong(self) -> list[str]:
        """Everything that contradicts the wiring."""
        return [*self.missed, *self.misplaced, *self.unseen]


class _Case:
    """A filter on trial: the channels of its readers that are named, and those that have changed so far."""

    def __init__(self, layer: Filters, unit: int) -> None:
        self.layer = layer
        self.unit = unit
        self.named = {reader.path: set(reader.channels[unit]) for reader in layer.readers}
        self.changed = {path: set[int]() for path in self.named}

    @property
    def unseen(self) -> dict[str, set[int]]:
        pairs = ((path, named - self.changed[path]) for path, named in self.named.items())
        return {path: left for path, left in pairs if left}

    @property
    def by_statistics(self) -> bool:
        """Group statistics carry it into the other channels of its group: only layers are named then."""
        return "group's statistics" in self.layer.mixed


def judge(net: nn.Module, example: Tensor, wiring: Wiring) -> Findings:
    """Judge every layer whose readers the wiring claims to know, by one of its filters.

    Args:
        net: In evaluation mode.
        example: One example.
        wiring: What is judged.

    Returns:
        What was found. Nothing is wrong where `Findings.wrong` is empty.
    """
    stage = _Stage(net, example)
    findings = Findings()
    missed: set[str] = set()
    absent = _in_training_alone(net, stage)
    open_cases: list[_Case] = []
    for layer in wiring.layers:
        if layer.is_head or layer.refused or layer.path in absent:
            continue
        readers = tuple(each for each in layer.readers if each.path not in absent)
        layer = replace(layer, readers=readers)  # noqa: PLW2901
        strangers = [
            path
            for path in (layer.path, *(reader.path for reader in layer.readers))
            if path not in stage.inputs
        ]
        if strangers:
            findings.skipped.append(f"{layer.path}: {strangers[0]} is not called as a module")
            continue
        unit = zlib.crc32(layer.path.encode()) % layer.count
        findings.misplaced.extend(_misplaced(stage, layer, unit))
        open_cases.append(_Case(layer, unit))
    judged = len(open_cases)
    cases = open_cases
    for number, scales in enumerate(_SCALES):
        if not open_cases:
            break
        if number:
            stage = _Stage(net, example, drawn=number)
        slots = [(case, scale) for case in open_cases for scale in scales]
        for first in range(0, len(slots), _AT_ONCE):
            missed.update(stage.disturb(slots[first : first + _AT_ONCE]))
        open_cases = [case for case in open_cases if case.unseen and not case.by_statistics]
    unseen = [
        f"{case.layer.path}[{case.unit}] -> {path}: {sorted(left)[:8]} are named and never change"
        for case in cases
        if not case.by_statistics
        for path, left in case.unseen.items()
    ]
    return Findings(judged, sorted(missed), unseen, findings.misplaced, findings.skipped)


def _in_training_alone(net: nn.Module, stage: _Stage) -> set[str]:
    """The layers that no run in evaluation mode reaches: auxiliary heads, which nothing here can tell anything of."""
    ran: set[str] = set()
    handles = [
        module.register_forward_hook(lambda *_, path=path: ran.add(path))
        for path, module in stage.modules.items()
        if path not in stage.inputs
    ]
    if handles:
        with suppress(RuntimeError, ValueError), undisturbed(net, training=lambda _: True):
            net(stage.x)
    for handle in handles:
        handle.remove()
    return ran


def _misplaced(stage: _Stage, layer: Filters, unit: int) -> Iterator[str]:
    """Draw a filter's own entries anew: its output channel changes, and no other."""
    module = stage.modules[layer.path]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(stage.inputs[layer.path][0][:1].shape, generator=generator)
    names = [name for name in (layer.weight, layer.bias) if name is not None]
    own = {name: stage.net.get_parameter(name) for name in names}
    kept = {name: tensor.detach().clone() for name, tensor in own.items()}
    with torch.no_grad():
        before = module(x)
        redraw(stage.net, layer, unit, seed=1)
        after = module(x)
        for name, values in kept.items():
            own[name].copy_(values)
    changed = _changed(before, after, channel_axis(module, before))[0]
    if changed != {unit}:
        yield f"{layer.path}[{unit}]: its entries make channels {sorted(changed)[:8]}"


class _Stage:
    """A network whose layers can be made to give what they gave before."""

    def __init__(self, net: nn.Module, example: Tensor, *, drawn: int = 0) -> None:
        self.net = net
        self._draws = torch.Generator().manual_seed(drawn) if drawn else None
        self.x = example.expand(_AT_ONCE, *example.shape[1:]).clone()
        self.modules = {
            path: module
            for path, module in net.named_modules()
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
        }
        self.inputs: _Calls = {}
        self.outputs: _Calls = {}
        with self._instead(self._keep), torch.no_grad():
            self.output = self._tensors(net(self.x))
        for path, outs in self.outputs.items():
            if not all(bool(out.isfinite().all()) for out in outs):
                raise ValueError(f"the network must run on finite numbers, and {path} gives others")

    def disturb(self, slots: Sequence[tuple[_Case, float]]) -> list[str]:
        """Run with one filter disturbed in each example; what was missed, in words."""
        missed: list[str] = []
        calls: dict[str, int] = {}
        generator = torch.Generator().manual_seed(len(slots))

        def again(path: str, module: nn.Module, x: Tensor) -> Tensor:
            call = calls.get(path, 0)
            calls[path] = call + 1
            found = _changed(self.inputs[path][call], x, channel_axis(module, x))
            for slot, (case, _) in enumerate(slots):
                if found[slot]:
                    missed.extend(self._compare(case, path, found[slot]))
            if any(found[len(slots) :]):
                missed.append(f"{path} sees the other examples of its batch")
            out = self.outputs[path][call].clone()  # what comes next may write into it
            here = [
                (n, case, scale) for n, (case, scale) in enumerate(slots) if case.layer.path == path
            ]
            if here:
                spread = out.std() if out.numel() > 1 else torch.ones(())
                for slot, case, scale in here:
                    channel = out[slot].select(channel_axis(module, out) - 1, case.unit)
                    noise = torch.randn(channel.shape, generator=generator)
                    if channel.numel() == 1 or abs(scale) >= _ONE_SIGN:
                        noise = noise.abs()
                    channel.add_(noise * scale * spread)
            return out

        with self._instead(again), torch.no_grad():
            output = self._tensors(self.net(self.x))
        for slot, (case, _) in enumerate(slots):
            for before, after in zip(self.output, output, strict=True):
                if not torch.equal(before[slot], after[slot]):
                    missed.append(
                        f"{case.layer.path}[{case.unit}] reaches the output past its readers"
                    )
        return missed

    def _compare(self, case: _Case, path: str, changed: set[int]) -> Iterator[str]:
        named = case.named.get(path)
        if named is None:
            yield f"{path} reads {case.layer.path}[{case.unit}] and is not among its readers"
            return
        if changed - named and not case.by_statistics:
            some = sorted(changed - named)[:8]
            yield f"{case.layer.path}[{case.unit}] -> {path}: {some} change and are not named"
        case.changed[path] |= changed

    def _keep(self, path: str, module: nn.Module, x: Tensor) -> Tensor:
        out = type(module).forward(module, x)
        if self._draws is not None:
            noise = torch.randn(out.shape, generator=self._draws, dtype=out.dtype)
            out = noise * out.abs().mean().clamp(0.1, 10.0)
        self.inputs.setdefault(path, []).append(x.detach().clone())
        self.outputs.setdefault(path, []).append(out.detach().clone())
        return out

    @contextmanager
    def _instead(self, forward: Callable[[str, nn.Module, Tensor], Tensor]) -> Iterator[None]:
        """Let a function stand in for every layer's forward."""

        def standing_in(path: str, module: nn.Module) -> Callable[[Tensor], Tensor]:
            return lambda x: forward(path, module, x)

        for path, module in self.modules.items():
            module.forward = standing_in(path, module)
        try:
            yield
        finally:
            for module in self.modules.values():
                del module.forward

    @staticmethod
    def _tensors(output: object) -> list[Tensor]:
        if isinstance(output, Tensor):
            return [output]
        return [each for each in output if isinstance(each, Tensor)]  # type: ignore[attr-defined]


def channel_axis(module: nn.Module, x: Tensor) -> int:
    """The axis of a layer's input or output that counts channels."""
    return x.ndim - 1 if isinstance(module, nn.Linear) else 1


def _changed(before: Tensor, after: Tensor, axis: int) -> list[set[int]]:
    """For each example the channels that differ."""
    if torch.equal(before, after):
        return [set() for _ in range(before.shape[0])]
    differs = before != after
    over = [other for other in range(1, before.ndim) if other != axis]
    if over:
        differs = differs.sum(over) > 0
    found: list[set[int]] = [set() for _ in range(before.shape[0])]
    for slot, channel in differs.nonzero().tolist():
        found[slot].add(channel)
    return found
