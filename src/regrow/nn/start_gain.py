"""Gains from data, before the first step: every map begins with the spread that is wanted.

A user calls it once, before training.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final

import torch
from torch import Tensor, nn

from regrow._checks import check_positive
from regrow.errors import TraceError
from regrow.graph.calling import ExampleInputs, call_arguments
from regrow.nn.measured_run import measured_run
from regrow.nn.norm_kinds import GainControl, gain_control_modules, kept_gain, write_gains

_ROUNDING: Final = 64.0
"""A spread of so many roundings of a map's size is none: a constant map, minus its mean."""


@dataclass(frozen=True, kw_only=True)
class StartGain:
    """What one layer measured.

    Attributes:
        path: Its first module path.
        mean: Of the measured gains' sizes, and what a fresh channel of this layer begins with from now on; None where
            all channels were silent.
        smallest, largest: Of the measured gains' sizes.
        silent: Channels whose maps had no spread at all: they keep the gain that they had.
    """

    path: str
    mean: float | None
    smallest: float | None
    largest: float | None
    silent: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class StartGainReport:
    """What `set_start_gain_` did.

    Attributes:
        target: The standard deviation that was asked for.
        layers: In the order of the forward pass.
        unreached: Paths of layers that did not run: they keep their gains.
    """

    target: float
    layers: tuple[StartGain, ...]
    unreached: tuple[str, ...]

    def __str__(self) -> str:
        """One line a layer."""
        lines = [f"gains for a standard deviation of {self.target:g}"]
        for layer in self.layers:
            line = f"  {layer.path}: "
            if layer.mean is not None:
                line += f"{layer.mean:.4g} ({layer.smallest:.4g} to {layer.largest:.4g})"
            if layer.silent:
                line += f" silent: {', '.join(map(str, layer.silent))}"
            lines += wrap(line, 120, initial_indent="  ", subsequent_indent="    ")
        lines += [f"  not reached: {path}" for path in self.unreached]
        return "\n".join(lines)


def set_start_gain_(
    model: nn.Module,
    inputs: ExampleInputs,
    *,
    target: float = 1.0,
    per_channel: bool = True,
) -> StartGainReport:
    """Set the gains of all gain control layers, so that each map begins with a given standard deviation.

    The model runs once on one batch. Each layer is measured when the run comes to it, behind layers that are set
    already:

        g_c = target / std over samples and positions of (x_c - k_c mean of x_c)

    so that deep networks without norm layers neither fade nor blow up at the start. It is measured before the ReLU.
    Only gains are written, and `start_gain` (`start_log_gain`): what a channel that is renewed later begins with, the
    mean of the gains.

    Args:
        model: Its gain control layers are written to. All else is left as it was: flags, other buffers, gradients,
            random state.
        inputs: One batch, as the model takes it (see `regrow.trace`). A hundred examples are plenty.
        target: The standard deviation, above 0.
        per_channel: A gain of its own for each channel; otherwise one for all channels of a layer, from the mean of
            their variances, which keeps their proportions.

    Returns:
        What was measured, layer by layer.

    Raises:
        TraceError: The model has no gain control layer, does not run, or gives maps that are not finite.

    Edge cases:
        A target that is not above 0 is a `ConfigError`. A channel without spread (dead, or a constant) keeps its gain,
        and is listed. A negative gain stays negative. The model runs in evaluation mode: dropout is off, and a batch
        norm that is there too uses its running statistics. A layer that runs several times is set by its first run.
        After an error no gain has changed.

    Source:
        Mishkin, Matas 2016, "All you need is a good init" (LSUV), https://arxiv.org/abs/1511.06422, which scales the
        weights. Differs: the gain is scaled, a channel at a time, and once, as the output is linear in it.

    Examples:
        >>> from regrow.nn import GainControl2d
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), GainControl2d(4), nn.ReLU())
        >>> report = set_start_gain_(net, torch.randn(8, 1, 9, 9))
        >>> net[:2](torch.randn(8, 1, 9, 9)).std().round(decimals=1)
        tensor(1., grad_fn=<RoundBackward1>)
    """
    check_positive(target, name="target", where="set_start_gain_")
    paths = gain_control_modules(model)
    if not paths:
        raise TraceError(
            "the model must have a gain control layer, and has none: put GainControl2d into it, or convert its norms "
            "(set_start_gain_)"
        )
    for layer, path in paths.items():
        own = (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
        if not any(each is kept_gain(layer) for each in own):
            raise TraceError(
                f"the gains of '{path}' must be a tensor of its own, and are computed from others: take the "
                "parametrisation off first (set_start_gain_)"
            )
    measuring = _Measuring(paths, target=target, per_channel=per_channel)
    measured_run(
        model,
        lambda: call_arguments(inputs),
        layers=paths,
        before=measuring.before,
        written=[kept_gain(layer) for layer in paths],
        where="set_start_gain_",
    )
    for layer, found in measuring.found.items():
        if found.mean is not None:
            layer.begin_with_(found.mean)
    return StartGainReport(
        target=target,
        layers=tuple(measuring.found.values()),
        unreached=tuple(path for layer, path in paths.items() if layer not in measuring.found),
    )


class _Measuring:
    """Sets each layer when the run comes to it."""

    def __init__(self, paths: dict[GainControl, str], *, target: float, per_channel: bool) -> None:
        self._paths, self._target, self._per_channel = paths, target, per_channel
        self.found: dict[GainControl, StartGain] = {}

    @torch.no_grad()
    def before(self, layer: GainControl, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """The run has come to a layer."""
        # Only the first run of a layer: set anew in each, it would be measured by what its own new gain has made of the
        # maps.
        if layer in self.found:
            return
        (x,) = (*args, *named.values())
        if x.numel() == 0:
            raise TraceError(
                f"the inputs must hold examples, and none come to '{self._paths[layer]}', which takes the shape "
                f"{tuple(x.shape)} (set_start_gain_)"
            )
        own = kept_gain(layer)
        old, signs = own.clone(), layer.gains().sign()
        spread = self._spread(layer, x)
        silent = spread == 0
        if not self._per_channel and not bool(silent.all()):
            spread = spread.square().mean().sqrt().expand_as(spread)
            silent = torch.zeros_like(silent)
        size = self._target / spread.masked_fill(silent, 1.0)
        # Before the layer itself runs: the layers behind it are measured on maps that have the spread already.
        write_gains(layer, torch.where(signs < 0, -size, size))
        own.copy_(torch.where(silent, old, own))
        measured = size[~silent]
        some = len(measured) > 0
        self.found[layer] = StartGain(
            path=self._paths[layer],
            mean=float(measured.mean()) if some else None,
            smallest=float(measured.min()) if some else None,
            largest=float(measured.max()) if some else None,
            silent=tuple(silent.nonzero().flatten().tolist()),
        )

    def _spread(self, layer: GainControl, x: Tensor) -> Tensor:
        """The standard deviation of each channel with gain 1, (C,); 0 where it is nothing but rounding."""
        kind = torch.promote_types(x.dtype, torch.float32)
        relu, bias = layer.relu, layer.bias.clone()
        try:
            layer.relu = False
            layer.bias.zero_()
            write_gains(layer, torch.ones_like(bias))
            maps = layer.forward(x).to(kind)
        finally:
            layer.relu = relu
            layer.bias.copy_(bias)
        channels = maps.movedim(-layer.dims - 1, 0).flatten(1)
        taken = x.to(kind).movedim(-layer.dims - 1, 0).flatten(1)
        spread = channels.std(1, correction=0)
        if not bool(spread.isfinite().all()):
            raise TraceError(
                f"maps must be finite; what comes to '{self._paths[layer]}' is not: look at the inputs and at the "
                "weights before it (set_start_gain_)"
            )
        rounding = torch.finfo(x.dtype).eps * _ROUNDING * taken.square().mean(1).sqrt()
        return spread.masked_fill(spread <= rounding, 0.0)
