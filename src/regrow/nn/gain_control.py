"""`GainControl1d`, `GainControl2d`, `GainControl3d`: automatic gain control as a layer (Deep Control).

What users and `nn/convert.py` put into a network. Each forward pass goes on to `nn/kernel.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Never, get_args

import torch
import torch.fx
from torch import Tensor, nn

from regrow._checks import check_choice, check_finite, check_whole
from regrow.errors import ConfigError, ShapeError
from regrow.nn.formula import check_maps
from regrow.nn.kernel import controlled

SinglePosition = Literal["error", "pass_through", "formula"]


class _GainControl(nn.Module):
    """What the three have in common; they differ in how many axes are positions."""

    dims: ClassVar[int]
    channel_axis: int
    """Where the channels are, counted from the end."""

    mean_scale: Tensor
    gain: Tensor
    log_gain: Tensor
    bias: Tensor
    start_gain: Tensor
    start_log_gain: Tensor

    def __init__(
        self,
        channels: int,
        *,
        mean_scale: float = 1.0,
        gain: float = 1.0,
        bias: float = 0.0,
        learn_mean_scale: bool = True,
        learn_gain: bool = True,
        learn_bias: bool = True,
        positive_gain: bool = False,
        relu: bool = False,
        single_position: SinglePosition = "error",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        check_whole(channels, name="channels", where=where, least=1)
        for name, value in (("mean_scale", mean_scale), ("gain", gain), ("bias", bias)):
            check_finite(value, name=name, where=where)
        if positive_gain and gain <= 0:
            raise ConfigError(
                f"gain must be above 0 with positive_gain=True, got {gain!r} ({where})"
            )
        known = get_args(SinglePosition)
        check_choice(single_position, known, name="single_position", where=where)
        if dtype is not None and not dtype.is_floating_point:
            raise ConfigError(f"dtype must be real floating point, got {dtype} ({where})")
        self.channels = channels
        self.positive_gain = positive_gain
        self.relu = relu
        self.single_position: SinglePosition = single_position
        self._start = (float(mean_scale), float(gain), float(bias))
        learnt = (learn_mean_scale, learn_gain, learn_bias)
        for name, learn in zip(self._names(), learnt, strict=True):
            values = torch.empty(channels, device=device, dtype=dtype)
            if learn:
                self.register_parameter(name, nn.Parameter(values))
            else:
                self.register_buffer(name, values)
        self.register_buffer(self._start_name, torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all channels to the constructor's values, and what a fresh channel begins with too."""
        mean_scale, gain, bias = self._start
        self.begin_with_(gain)
        with torch.no_grad():
            for name, value in zip(
                self._names(), (mean_scale, self._kept(gain), bias), strict=True
            ):
                getattr(self, name).fill_(value)

    def begin_with_(self, gain: float) -> None:
        """Say what the gain of a fresh channel is from now on; those that there are keep theirs."""
        with torch.no_grad():
            getattr(self, self._start_name).fill_(self._kept(gain))

    def gains(self) -> Tensor:
        """The gain of each channel, (C,), whichever form it is kept in: `gain`, or exp(`log_gain`)."""
        return self.log_gain.exp() if self.positive_gain else self.gain

    def fresh_channel_entries(self) -> Mapping[str, float | str]:
        """What a channel begins with, for whoever renews one (`regrow.graph.ChannelNorm`), by the names of tensors.

        Of the gain it is the name of the tensor that says it: the constructor's, or what the data gave at the start.
        """
        mean_scale, _, bias = self._start
        return dict(zip(self._names(), (mean_scale, self._start_name, bias), strict=True))

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to (N, C, *positions), or (C, *positions); the same in training and evaluation."""
        # By this name some models call their norms: torch's have it.
        return gain_controlled(
            input,
            self.mean_scale,
            self.gains(),
            self.bias,
            dims=self.dims,
            relu=self.relu,
            single_position=self.single_position,
            where=type(self).__name__,
        )

    def __prepare_scriptable__(self) -> Never:
        """A TypeError, in words: what TorchScript would say is about an annotation."""
        raise TypeError(
            f"{type(self).__name__} cannot be compiled by torch.jit.script, which does not read all of Python: use "
            "torch.export.export, torch.jit.trace or torch.compile"
        )

    def extra_repr(self) -> str:
        """The settings, and what is learnt."""
        names = self._names()
        learnt = [name for name in names if name in self._parameters]
        values = ", ".join(
            f"{name}={value:g}"
            for name, value in zip(("mean_scale", "gain", "bias"), self._start, strict=True)
        )
        parts = [str(self.channels), values, f"learnt=({', '.join(learnt)})"]
        parts += [f"{name}=True" for name in ("positive_gain", "relu") if getattr(self, name)]
        if self.single_position != "error":
            parts.append(f"single_position={self.single_position!r}")
        return ", ".join(parts)

    def _names(self) -> tuple[str, str, str]:
        return ("mean_scale", "log_gain" if self.positive_gain else "gain", "bias")

    @property
    def _start_name(self) -> str:
        """Of the buffer with a fresh channel's gain, in the form in which gains are kept."""
        return f"start_{self._names()[1]}"

    def _kept(self, gain: float) -> float:
        return math.log(gain) if self.positive_gain else gain


def gain_controlled(
    maps: Tensor,
    mean_scale: Tensor,
    gain: Tensor,
    bias: Tensor,
    *,
    dims: int,
    relu: bool,
    single_position: SinglePosition,
    where: str,
) -> Tensor:
    """The layer's whole computation, checks included, as one call that `torch.fx` writes down and does not enter."""
    check_maps(maps, dims=dims, where=where)
    if maps.ndim > dims + 2:
        raise ShapeError(
            f"the input must have {dims + 2} axes (samples, channels, positions), or {dims + 1} without "
            f"samples, got the shape {tuple(maps.shape)} ({where})"
        )
    channels, expected = maps.shape[-dims - 1], bias.shape[0]
    if channels != expected:
        raise ShapeError(
            f"the input must have {expected} channels in axis {-dims - 1}, got {channels} "
            f"(shape {tuple(maps.shape)}): build the layer as {where}({channels}) ({where})"
        )
    lone = math.prod(maps.shape[-dims:]) == 1
    if lone and single_position == "error":
        raise ShapeError(
            f"a map must have more than one position, got the shape {tuple(maps.shape)}: with mean_scale 1 nothing "
            "but the bias would be left of it. Build the layer with single_position='pass_through' (mean_scale "
            f"counts as 0 there) or 'formula' (for a mean_scale below 1) ({where})"
        )
    if lone and single_position == "pass_through":
        mean_scale = mean_scale * 0  # not left out: its gradient is 0, not missing
    return controlled(maps, mean_scale=mean_scale, gain=gain, bias=bias, dims=dims, relu=relu)


torch.fx.wrap("gain_controlled")


class GainControl1d(_GainControl):
    """`GainControl2d` for sequences: (N, C, L) or (C, L)."""

    dims = 1
    channel_axis = -2


class GainControl2d(_GainControl):
    """Take a share of its mean from each map of each sample, scale what is left, and shift it.

    It goes where a norm layer would, between a convolution and its activation. No sample sees another, nothing is
    remembered, training and evaluation are one computation; it works with a batch of one. The variance is not
    normalised: the gain is learnt (or set once from data).

        y = g (x - k mean of x over the positions) + b,     with `relu`: max(y, 0)

    In eager mode it is one node of autograd (`regrow.nn.function`) that saves one activation: the input, or with `relu`
    the output, which the next layer keeps anyway (the input all the same of 16-bit numbers and on CUDA). Inputs of less
    than 2^18 numbers take the plain formula (`regrow.functional.gain_control`), which is quicker there and with `relu`
    saves both. torch.compile sees a form that it fuses; exporters, functorch's transforms and others see the formula.

    Args:
        channels: C, as of the input.
        mean_scale: k of a fresh channel.
        gain: g of a fresh channel.
        bias: b of a fresh channel.
        learn_mean_scale: k is a parameter, else a buffer. The keys of the state dict are the same.
        learn_gain: g is a parameter, else a buffer.
        learn_bias: b is a parameter, else a buffer.
        positive_gain: Keep log g in the place of g, as `log_gain` (and `start_log_gain` for a fresh channel's): g
            stays above 0, and is learnt by factors.
        relu: Set negative outputs to 0 in the same passes.
        single_position: What to do with maps of one position, of which k = 1 leaves nothing but b: ``error``;
            ``pass_through``: k counts as 0 there; ``formula``: as printed, for a k below 1.
        device: Of its tensors.
        dtype: Of its tensors, real floating point.

    Raises:
        ConfigError: A setting is outside its range.
        ShapeError: At a forward pass: another number of channels or axes, no position, no real floating point numbers,
            or one position with ``error``.

    Edge cases:
        A convolution's bias before it is taken away again where k = 1: build it with ``bias=False``. A layer without a
        batch axis, (C, H, W), is one sample. No samples: an empty output. 16-bit inputs (autocast, ``.half()``) are
        worked out in float32 and rounded once, to their own dtype. The memory format is kept. NaN and infinity spread
        in their own map of their own sample alone; the gradients of k, g and b are sums over samples, and the channel's
        get them too.

    Source:
        Ruff 2017, "Deep Control", of which only the abstract is available. https://arxiv.org/abs/1706.03907
        The paper's: a scaled mean, a sample and map at a time, is taken from the raw output of the convolution; the
        difference is scaled; training and evaluation are alike. Ours: k and g a channel, learnt, beginning with 1; the
        bias; the positive form; the ReLU in the same call; what happens to single positions.

    Examples:
        >>> layer = GainControl2d(1)
        >>> layer(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).flatten().tolist()
        [-2.0, -1.0, 0.0, 3.0]
        >>> layer
        GainControl2d(1, mean_scale=1, gain=1, bias=0, learnt=(mean_scale, gain, bias))
    """

    dims = 2
    channel_axis = -3


class GainControl3d(_GainControl):
    """`GainControl2d` for volumes: (N, C, D, H, W) or (C, D, H, W)."""

    dims = 3
    channel_axis = -4
