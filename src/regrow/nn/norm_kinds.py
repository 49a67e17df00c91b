"""The kinds of norm layers that a conversion knows: which module is of which kind, and a fresh one for its place.

Asked by `nn/replacing.py`, `nn/fold.py` and `nn/start_gain.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]

from regrow.errors import ConfigError
from regrow.nn.gain_control import GainControl1d, GainControl2d, GainControl3d
from regrow.nn.norm_act import NormAct

NormKind = Literal["batchnorm", "groupnorm", "instancenorm", "gain_control", "none"]
"""``none`` is a conversion's end only: nothing in the norm's place."""

GainControl = GainControl1d | GainControl2d | GainControl3d

_BY_DIMS: Final[Mapping[NormKind, Mapping[int, type[nn.Module]]]] = {
    "batchnorm": {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instancenorm": {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
    "gain_control": {1: GainControl1d, 2: GainControl2d, 3: GainControl3d},
}
"""The classes of which there is one for each number of axes that are positions."""

_BASES: Final[Mapping[NormKind, type[nn.Module] | UnionType]] = {
    "batchnorm": _BatchNorm,
    "groupnorm": nn.GroupNorm,
    "instancenorm": _InstanceNorm,
    "gain_control": GainControl,
}
_LIKE_TORCHS: Final = frozenset(
    f"timm.layers.{name}" for name in ("norm.GroupNorm", "norm.GroupNorm1")
)
"""Subclasses with a forward of their own that computes the same."""

_WITH_ACTIVATION: Final = frozenset(
    f"timm.layers.norm_act.{name}"
    for name in ("BatchNormAct2d", "SyncBatchNormAct", "GroupNormAct", "GroupNorm1Act")
)
"""Norm, dropping and activation in one module, with the last two as ``drop`` and ``act``."""

_NORM_LIKE: Final = re.compile(r"norm|^GRN$|ResponseNorm|^Affine$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class RecognisedNorm:
    """A norm layer of a model."""

    kind: NormKind | None  # None for one that is not known
    why: str = ""  # that it cannot be replaced


def recognise(module: nn.Module) -> RecognisedNorm | None:
    """What a module is, as a norm layer; None for what is none at all."""
    for kind, bases in _BASES.items():
        if isinstance(module, bases):
            return _of_kind(module, kind)
    if isinstance(module, (nn.Identity, NormAct)) or not _NORM_LIKE.search(type(module).__name__):
        return None
    if any(recognise(child) for child in module.children()) or _has_weights(module):
        return None  # a block with a norm in it
    if "FrozenBatchNorm" in type(module).__name__:
        return RecognisedNorm(
            kind=None, why=f"{type(module).__name__} is a fixed scale and shift, no norm"
        )
    return RecognisedNorm(kind=None, why=f"{type(module).__name__} is of no known kind")


def _of_kind(module: nn.Module, kind: NormKind) -> RecognisedNorm:
    """Of this kind, unless a subclass has a forward of its own, or one was put onto the instance."""
    own = next(each for each in type(module).__mro__ if "forward" in vars(each))
    as_torchs = own.__module__.startswith(("torch.nn.", "regrow.nn."))
    known = as_torchs or _qualified(module) in _LIKE_TORCHS or has_activation(module)
    if known and "forward" not in vars(module):
        return RecognisedNorm(kind=kind)
    return RecognisedNorm(kind=None, why=f"{type(module).__name__} has a forward of its own")


def has_activation(module: nn.Module) -> bool:
    """Whether a norm has its activation in it."""
    return _qualified(module) in _WITH_ACTIVATION


def _qualified(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def dims_of(module: nn.Module) -> int | None:
    """How many axes of the input are positions, where a class says so; ``BatchNorm1d``, for features too, does not."""
    for classes in _BY_DIMS.values():
        for dims, kind in classes.items():
            if isinstance(module, kind) and kind is not nn.BatchNorm1d:
                return dims
    return None


def build(
    old: nn.Module,
    *,
    to: NormKind,
    dims: int,
    keep_affine: bool,
    like: Tensor | None,
    options: Mapping[str, Any],
) -> nn.Module:
    """A layer of another kind for the place of a norm layer: its channels, device, dtype, mode and `requires_grad`.

    Device and dtype are those of `like` where the old layer has no tensors. A ConfigError for options that the layer
    does not take, or scales that are not above 0 with ``positive_gain``.
    """
    if to == "none":
        return nn.Identity().train(old.training)
    own = next((t for t in (*old.parameters(), *old.buffers()) if t.is_floating_point()), like)
    settings: dict[str, Any] = {} if own is None else {"device": own.device, "dtype": own.dtype}
    if to == "instancenorm":
        settings["affine"] = True
    settings |= options
    channels = _channels(old)
    try:
        if to == "groupnorm":
            new: nn.Module = nn.GroupNorm(settings.pop("num_groups"), channels, **settings)
        else:
            new = _BY_DIMS[to][dims](channels, **settings)
    except (TypeError, ValueError, KeyError) as error:
        missing = "num_groups is needed" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"the options must fit the layer, {to}: {missing} (convert)") from error
    new.train(old.training)
    _freeze_alike(old, new)
    if keep_affine:
        _copy_affine(old, new)
    return new


def with_activation(old: nn.Module, norm: nn.Module) -> nn.Module:
    """The new layer, and the old dropping and activation, in the place of a norm that had both in it."""
    drop, act = old.get_submodule("drop"), old.get_submodule("act")
    return NormAct(norm, drop=drop, act=act, original=type(old)).train(old.training)


def put_back(old: NormAct, norm: nn.Module) -> nn.Module:
    """The class that a `NormAct` stands for, where a norm comes back that it is built on, with the norm's own tensors.

    A `NormAct` with the new norm where the class is built on another kind.
    """
    if not issubclass(old.original, type(norm)) or not isinstance(norm, _BatchNorm):
        return NormAct(norm, drop=old.drop, act=old.act, original=old.original).train(old.training)
    new = old.original(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
    )
    new._parameters.update(norm._parameters)  # pyright: ignore[reportPrivateUsage]
    new._buffers.update(norm._buffers)  # pyright: ignore[reportPrivateUsage]
    new.drop, new.act = old.drop, old.act
    return new.train(old.training)


def gain_control_modules(model: nn.Module) -> dict[GainControl, str]:
    """All gain control layers of a model with their first path, in the order of registration."""
    return {each: path for path, each in model.named_modules() if isinstance(each, GainControl)}


def write_gains(layer: GainControl, gains: Tensor) -> None:
    """Set the gains of a layer, in whichever form it keeps them; above 0 where that is logarithms."""
    with torch.no_grad():
        kept_gain(layer).copy_(gains.log() if layer.positive_gain else gains)


def kept_gain(layer: GainControl) -> Tensor:
    """The tensor that a layer keeps its gains in, as they are or as logarithms."""
    return getattr(layer, "log_gain" if layer.positive_gain else "gain")


def _freeze_alike(old: nn.Module, new: nn.Module) -> None:
    """What was frozen stays so: k goes with the scale."""
    frozen = {name for name, each in old.named_parameters(recurse=False) if not each.requires_grad}
    for name, each in new.named_parameters(recurse=False):
        alike = {"bias"} if name == "bias" else {"weight", "gain", "log_gain"}
        if not frozen.isdisjoint(alike):
            each.requires_grad = False


def _copy_affine(old: nn.Module, new: nn.Module) -> None:
    scale = old.gains() if isinstance(old, GainControl) else getattr(old, "weight", None)
    shift = getattr(old, "bias", None)
    weight, bias = getattr(new, "weight", None), getattr(new, "bias", None)
    with torch.no_grad():
        if scale is not None:
            if isinstance(new, GainControl):
                if new.positive_gain and not bool((scale > 0).all()):
                    raise ConfigError(
                        "scales must be above 0 for positive_gain=True with keep_affine=True, and some are not: "
                        "convert with one of the two (convert)"
                    )
                write_gains(new, scale)
            elif weight is not None:
                weight.copy_(scale)
        if shift is not None and bias is not None:
            bias.copy_(shift)


def _channels(module: nn.Module) -> int:
    for name in ("channels", "num_features", "num_channels"):
        if hasattr(module, name):
            return int(getattr(module, name))
    raise ConfigError(f"{type(module).__name__} does not say how many channels it has (convert)")


def _has_weights(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters()) and bool(
        list(module.children())
    )
