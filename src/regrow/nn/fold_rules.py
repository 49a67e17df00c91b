"""Scales and shifts of channels, moved into the weights of a convolution or a linear layer before or behind them.

Called by `nn/fold.py`, which lets nothing be differentiated.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

Weighted = _ConvNd | nn.Linear

_PLAIN: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_MAX: Final = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
_MEAN: Final = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_WINDOWED_MEAN: Final = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


def is_weighted(module: nn.Module) -> bool:
    """Whether it is a convolution or a linear layer of torch, whose weight is a parameter of its own."""
    known = _is_one_of((*_PLAIN, *_TRANSPOSED, nn.Linear), module)
    return known and "weight" in module._parameters  # pyright: ignore[reportPrivateUsage]


def lets_scale_pass(module: nn.Module) -> bool:
    """f(g x) = g f(x) for g > 0."""
    return _is_one_of((nn.ReLU, *_MAX, *_MEAN, *_WINDOWED_MEAN), module)


def needs_positive(module: nn.Module) -> bool:
    """f(g x) = g f(x) for g > 0 only."""
    return type(module) in (nn.ReLU, *_MAX)


def lets_shift_pass(module: nn.Module) -> bool:
    """f(x + b) = f(x) + b: nothing is cut off, and nothing but the maps' own entries counts in a mean."""
    if isinstance(module, _WINDOWED_MEAN) and type(module) in _WINDOWED_MEAN:
        padding = module.padding
        padded = any(padding) if isinstance(padding, tuple) else padding != 0
        return not (padded or module.ceil_mode or getattr(module, "divisor_override", None))
    return type(module) in (*_MAX, *_MEAN)


def takes_shift(module: nn.Module) -> bool:
    """Whether a constant channel becomes a constant behind this layer: nowhere does it end at a border of zeros."""
    if type(module) is nn.Linear:
        return True
    if not isinstance(module, _PLAIN):
        return False
    padding = module.padding
    padded = padding != "valid" if isinstance(padding, str) else any(padding)
    return not padded or module.padding_mode != "zeros"


def scale_outputs_(layer: Weighted, scale: Tensor) -> None:
    """Multiply what a convolution gives, channel by channel: the scale is (O,)."""
    factor = scale.double()
    _multiply_(layer, factor, columns=type(layer) in _TRANSPOSED)
    if layer.bias is not None:
        layer.bias.copy_(layer.bias.double() * factor)


def scale_inputs_(layer: Weighted, scale: Tensor) -> None:
    """Take channels that are not yet scaled as if they were: (I,), for flattened maps one a map."""
    factor = scale.double()
    if isinstance(layer, nn.Linear):
        # Flattened maps lie one behind the other: a map's factor holds for all of its positions.
        factor = factor.repeat_interleave(layer.in_features // len(factor))
    _multiply_(layer, factor, columns=type(layer) not in _TRANSPOSED)


def _multiply_(layer: Weighted, factor: Tensor, *, columns: bool) -> None:
    """The weight's rows times a factor each; or its columns, where those of each group lie by themselves."""
    weight, places = layer.weight, [1] * (layer.weight.ndim - 2)
    if columns:
        groups = layer.groups if isinstance(layer, _ConvNd) else 1
        parts = weight.double().unflatten(0, (groups, -1))
        weight.copy_((parts * factor.view(groups, 1, -1, *places)).flatten(0, 1))
    else:
        weight.copy_(weight.double() * factor.view(-1, 1, *places))


def shift_outputs_(layer: Weighted, shift: Tensor) -> None:
    """Add a number to each channel that a layer gives; a bias is made where there is none."""
    if layer.bias is None:
        made = torch.zeros(len(shift), dtype=layer.weight.dtype, device=layer.weight.device)
        layer.register_parameter("bias", nn.Parameter(made))
    if layer.bias is not None:
        layer.bias.copy_(layer.bias.double() + shift.double())


def shift_inputs_(layer: Weighted, shift: Tensor) -> None:
    """Take channels that are not yet shifted as if they were; only where `takes_shift`. (I,), or one a map."""
    weight, added = layer.weight.double(), shift.double()
    if isinstance(layer, nn.Linear):
        out = weight @ added.repeat_interleave(layer.in_features // len(added))
    else:
        # A constant channel gives the sum of its kernel at every position, away from a border of zeros (`takes_shift`).
        sums = weight.flatten(2).sum(2).unflatten(0, (layer.groups, -1))  # (groups, O / g, I / g)
        out = torch.einsum("goi,gi->go", sums, added.view(layer.groups, -1)).flatten()
    shift_outputs_(layer, out)


def _is_one_of(kinds: tuple[type[nn.Module], ...], module: nn.Module) -> bool:
    """No subclass, and no forward that was put onto the instance: those may compute anything."""
    return type(module) in kinds and "forward" not in vars(module)
