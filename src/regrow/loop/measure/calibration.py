"""What a model does on a fixed batch: what each reading layer receives, and what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage] # base of all with statistics

from regrow.errors import ConfigError
from regrow.graph.calling import tensors_in
from regrow.graph.filters import Reader
from regrow.graph.plain import is_layer
from regrow.graph.undisturbed import hooked
from regrow.loop.measure.data import CalibrationData
from regrow.loop.measure.readers import inputs_of, taps_of
from regrow.loop.measure.uses import Fate, Uses, only_norm
from regrow.loop.ranks import Ranks
from regrow.renewal import Activity, ReaderActivity


@dataclass(kw_only=True)
class _ReaderInput:
    """Sums over the calls of one reading layer, and what became of its outputs."""

    total: Tensor | None = None
    count: int = 0
    outputs: list[Fate] = field(default_factory=list[Fate])


class Calibration:
    """Runs a model on the calibration inputs, in evaluation mode, and leaves it as it was."""

    def __init__(
        self,
        model: nn.Module,  # the bare model
        inputs: object,  # what it is called with, or a `CalibrationData`
        *,
        # Names of tensors that somebody else uses too: no constant is moved there.
        kept: Container[str | None] = (),
        # The processes that train the model together: each has data of its own, all must make the same edits.
        ranks: Ranks | None = None,
    ) -> None:
        self._model = model
        self._kept = kept
        self.data = CalibrationData.of(model, inputs)
        self._ranks = ranks or Ranks()
        self._path_of = {module: path for path, module in model.named_modules()}
        if not self.outputs():
            raise ConfigError("the model must give a floating-point tensor on calibration_inputs")

    def outputs(self) -> list[Tensor]:
        """The floating-point tensors that the model gives now."""
        with self.data.undisturbed():
            given = self.data.run(self.data.inputs)
        return [tensor.detach() for tensor in tensors_in(given) if tensor.is_floating_point()]

    def change_since(self, before: list[Tensor]) -> float:
        """How far the model's output has moved: the largest difference, as a share of the largest entry before."""
        moved = scale = 0.0
        for now, then in zip(self.outputs(), before, strict=True):
            if now.numel():
                moved = max(moved, float((now.double() - then.double()).abs().amax()))
                scale = max(scale, float(then.double().abs().amax()))
        share = moved if moved == 0.0 else moved / max(scale, torch.finfo(torch.float64).tiny)
        return self._ranks.mean_of([share], why="preserve=True")[0]

    def activity(self, readers: Iterable[Reader]) -> Activity:
        """What these layers receive, and where a constant behind them can go."""
        modules = dict(self._model.named_modules())
        wanted = {
            modules[owner]: reader
            for reader in readers
            if is_layer(modules.get(owner := reader.weight.rpartition(".")[0]))
        }
        received = {module: _ReaderInput() for module in wanted}
        uses, normed = Uses(), Counter[nn.Module]()
        hooks = _hooks(received, uses, normed)
        with self.data.undisturbed(), hooked(*hooks), uses:
            self.data.run(self.data.inputs)
        found: dict[str, ReaderActivity] = {}
        # With several ranks all come to each mean, whatever each of them has seen.
        for module, seen in received.items():
            total, reader = seen.total, wanted[module]
            if total is None:
                inputs = inputs_of(reader, cast("Tensor", module.weight))
                total = torch.zeros(inputs, dtype=torch.float32, device="cpu")
            mean = self._ranks.mean_over(total, seen.count, why="preserve=True")
            if mean is not None:
                found[reader.path] = self._activity_of(module, seen, normed, mean)
        return found

    def _activity_of(
        self, module: nn.Module, seen: _ReaderInput, normed: Counter[nn.Module], mean: Tensor
    ) -> ReaderActivity:
        path = self._path_of[module]
        behind = only_norm(seen.outputs)
        # One that is called with something else too has its means from there as well.
        running = (
            behind is not None
            and behind in self._path_of
            and getattr(behind, "running_mean", None) is not None
            and normed[behind] == len(seen.outputs)
        )
        has_bias = isinstance(module._parameters.get("bias"), nn.Parameter)  # pyright: ignore[reportPrivateUsage]
        bias = f"{path}.bias".lstrip(".") if has_bias else None
        mean_behind = f"{self._path_of[behind]}.running_mean" if behind and running else None
        return ReaderActivity(
            mean=mean,
            taps=taps_of(module),
            inputs_a_group=len(mean) // int(getattr(module, "groups", 1)),
            bias=None if bias in self._kept else bias,
            running_mean=None if mean_behind in self._kept else mean_behind,
        )


def _hooks(
    received: dict[nn.Module, _ReaderInput], uses: Uses, normed: Counter[nn.Module]
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Keep sums of what modules receive, and follow what they give."""

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        if not (args and isinstance(args[0], Tensor)):
            return
        if isinstance(module, _NormBase):
            uses.normed(args[0], module)
            normed[module] += 1
        if module in received:
            _add(received[module], module, args[0])

    def after(module: nn.Module, args: Any, output: Any) -> None:
        if module in received and isinstance(output, Tensor):
            received[module].outputs.append(uses.follow(output))

    return before, after


def _add(seen: _ReaderInput, module: nn.Module, x: Tensor) -> None:
    # Convolutions have their channels in front of the space.
    axis = x.ndim - (cast("Tensor", module.weight).ndim - 1)
    exact = torch.float32 if x.device.type == "mps" else torch.float64
    over = [other for other in range(x.ndim) if other != axis]
    total = x.detach().sum(over, dtype=exact) if over else x.detach().to(exact)
    seen.total = total if seen.total is None else seen.total + total
    seen.count += x.numel() // x.shape[axis]
