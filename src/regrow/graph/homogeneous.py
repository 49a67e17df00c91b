"""Which layers' filters are heard c times as loud where they are c times as large: tried, not listed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from regrow.graph.calling import ExampleInputs, call_arguments
from regrow.graph.filters import Filters
from regrow.graph.undisturbed import undisturbed

_FACTORS: Final = (1024.0, 2.0**-10)
"""Powers of two multiply without rounding; one that is large finds where something saturates."""


def homogeneous_layers(
    model: nn.Module, layers: Collection[Filters], inputs: ExampleInputs
) -> frozenset[str]:
    """Find the layers between which and their readers everything is positively homogeneous, as ReLU and pooling are.

    The model runs with a layer's weight and bias multiplied by a power of two: its readers must receive exactly that
    multiple of it, and of everything else what they received before.

    Args:
        model: The bare model. Left as it was.
        layers: Which to try.
        inputs: What it is called with: a batch on which filters are heard.

    Returns:
        Their module paths.

    Edge cases:
        Filters of which nothing is heard on the batch show nothing. A layer whose readers are not known, or not called
        as modules, or that has a bias of somebody else's, is not among them.
    """
    modules = dict(model.named_modules())
    wanted = {
        reader.path: modules[reader.path]
        for layer in layers
        for reader in layer.readers
        if reader.path in modules
    }
    before = _received(model, wanted, inputs)
    return frozenset(
        layer.path
        for layer in layers
        if layer.readers
        and not layer.refused
        and all(
            _follows(
                layer, factor, before, run=partial(_scaled, model, layer, factor, wanted, inputs)
            )
            for factor in _FACTORS
        )
    )


def _follows(
    layer: Filters,
    factor: float,
    before: dict[str, Tensor],
    *,
    run: Callable[[], dict[str, Tensor]],
) -> bool:
    """Whether the readers receive the multiple of the layer, and of everything else what they did."""
    after = run()
    for reader in layer.readers:
        if reader.path not in after or after[reader.path].shape != before[reader.path].shape:
            return False
        channels = sorted({channel for each in reader.channels for channel in each})
        expected = before[reader.path].clone()
        expected[:, channels] *= factor
        if not torch.equal(after[reader.path], expected):
            return False
    return True


def _scaled(
    model: nn.Module, layer: Filters, factor: float, modules: dict[str, nn.Module], inputs: Any
) -> dict[str, Tensor]:
    """What the readers receive while a layer is multiplied."""
    named = dict(model.named_parameters(remove_duplicate=False))
    own = [named[name] for name in (layer.weight, layer.bias) if name in named]
    kept = [each.detach().clone() for each in own]
    readers = {each.path for each in layer.readers}
    try:
        with torch.no_grad():
            for each in own:
                each.mul_(factor)
        return _received(model, {k: v for k, v in modules.items() if k in readers}, inputs)
    finally:
        with torch.no_grad():
            for each, values in zip(own, kept, strict=True):
                each.copy_(values)


def _received(
    model: nn.Module, modules: dict[str, nn.Module], inputs: ExampleInputs
) -> dict[str, Tensor]:
    """What each module receives first, with channels on axis 1: (N, channels, ...)."""
    found: dict[str, Tensor] = {}

    def listen(path: str) -> Any:
        def before(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            x = args[0] if args else named.get("input")
            if path not in found and isinstance(x, Tensor):
                found[path] = _channels_second(module, x).clone()

        return before

    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        for path, module in modules.items():
            handle = module.register_forward_pre_hook(listen(path), with_kwargs=True)
            stack.callback(handle.remove)
        args, kwargs = call_arguments(inputs)
        model(*args, **kwargs)
    return found


def _channels_second(module: nn.Module, x: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    dims = x.ndim - len(getattr(module, "kernel_size", ()))
    return x if dims == 2 else x[None]
