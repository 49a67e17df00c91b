"""One module to one step, or the reason why it cannot be one.

Called by `engine/program.py` for each module of a chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torch import nn

from regrow.engine import steps
from regrow.engine.steps import Step
from regrow.errors import ConfigError
from regrow.nn import GainControl2d
from regrow.nn.neighbours import has_hooks


def describe(module: nn.Module, *, path: str) -> Step | None:
    """The step of a leaf of a network, None where it changes nothing; an UnsupportedError says why it cannot be one."""
    # The exact class: a subclass, or a class that a parametrisation has made, may compute anything.
    maker = _MAKERS.get(type(module))
    if maker is None:
        known = ", ".join(sorted(kind.__name__ for kind in _MAKERS))
        raise UnsupportedError(path, f"{type(module).__name__} is not among {known}")
    if has_hooks(module):
        raise UnsupportedError(path, "it has hooks, which the engine would not call")
    return maker(module, path)


def is_known(module: nn.Module) -> bool:
    """Whether the class of a module is one of those that `describe` takes."""
    return type(module) in _MAKERS


class UnsupportedError(ConfigError):
    """The engine has no arithmetic for the module at a path, for a reason; its network is trained as plain modules."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the engine cannot run '{path}': {reason}")


def _conv2d(module: nn.Conv2d, path: str) -> Step:
    for name, wanted in (("dilation", (1, 1)), ("groups", 1), ("padding_mode", "zeros")):
        if (found := getattr(module, name)) != wanted:
            raise UnsupportedError(path, f"{name} must be {wanted!r}, got {found!r}")
    height, width = module.kernel_size
    padding: Any = module.padding
    if padding == "same" and not (height % 2 and width % 2):
        raise UnsupportedError(path, f"padding 'same' needs odd kernels, got {(height, width)}")
    named = {"same": (height // 2, width // 2), "valid": (0, 0)}
    above, left = named[padding] if isinstance(padding, str) else padding
    return steps.Conv2dStep(
        path=path,
        channels=module.in_channels,
        filters=module.out_channels,
        kernel=(height, width),
        padding=(above, left),
        stride=_pair(module.stride),
        bias="bias" in _learnt(module),
    )


def _linear(module: nn.Linear, path: str) -> Step:
    return steps.LinearStep(
        path=path,
        features=module.in_features,
        filters=module.out_features,
        bias="bias" in _learnt(module),
    )


def leaky_relu(slope: Any, *, path: str) -> Step:
    """A leaky ReLU; an UnsupportedError where it is none."""
    # Below 0 the sign of what comes out would not tell that of what went in.
    if not isinstance(slope, int | float) or not slope >= 0:
        raise UnsupportedError(path, f"negative_slope must be at least 0, got {slope}")
    return steps.LeakyReLUStep(path=path, slope=float(slope))


def _layer_norm(module: nn.LayerNorm, path: str) -> Step:
    if len(module.normalized_shape) != 1:
        raise UnsupportedError(
            path, f"normalized_shape must be one axis of features, got {module.normalized_shape}"
        )
    return steps.LayerNormStep(
        path=path,
        features=module.normalized_shape[0],
        eps=module.eps,
        learnt=_learnt(module),
    )


def _max_pool(module: nn.MaxPool2d, path: str) -> Step:
    kernel, stride = _pair(module.kernel_size), _pair(module.stride)
    if kernel != stride:
        raise UnsupportedError(path, f"kernel and stride must be equal, got {kernel} and {stride}")
    settings = (_pair(module.padding), _pair(module.dilation), module.ceil_mode)
    if settings != ((0, 0), (1, 1), False) or module.return_indices:
        raise UnsupportedError(
            path, "padding, dilation, ceil_mode and return_indices must be torch's defaults"
        )
    return steps.MaxPool2dStep(path=path, kernel=kernel)


def _average_pool(module: nn.AdaptiveAvgPool2d, path: str) -> Step:
    if _pair(module.output_size) != (1, 1):
        raise UnsupportedError(path, f"output_size must be 1, got {module.output_size}")
    return steps.AveragePoolStep(path=path)


def _flatten(module: nn.Flatten, path: str) -> Step:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise UnsupportedError(path, "all axes but the first must be flattened")
    return steps.FlattenStep(path=path)


def _batch_norm(module: nn.BatchNorm2d, path: str) -> Step:
    return steps.BatchNorm2dStep(
        path=path,
        channels=module.num_features,
        eps=module.eps,
        momentum=module.momentum,
        affine=module.affine,
        tracks=module.track_running_stats,
    )


def _gain_control(module: GainControl2d, path: str) -> Step:
    return steps.GainControl2dStep(
        path=path,
        channels=module.channels,
        positive_gain=module.positive_gain,
        relu=module.relu,
        single_position=module.single_position,
        learnt=_learnt(module),
    )


def _learnt(module: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, _ in module.named_parameters())


def _pair(value: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, tuple) else (value, value)


_MAKERS: Final[dict[type[nn.Module], Callable[[Any, str], Step | None]]] = {
    nn.Conv2d: _conv2d,
    nn.Linear: _linear,
    nn.ReLU: lambda _, path: steps.ReLUStep(path=path),
    nn.LeakyReLU: lambda module, path: leaky_relu(module.negative_slope, path=path),
    nn.LayerNorm: _layer_norm,
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: _average_pool,
    nn.Flatten: _flatten,
    nn.BatchNorm2d: _batch_norm,
    GainControl2d: _gain_control,
    nn.Identity: lambda _module, _path: None,
}
