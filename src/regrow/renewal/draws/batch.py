"""What layers give on a batch with other weights: for draws that are a matter of the data."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the base of all convolutions

from regrow.graph import ExampleInputs, Filters
from regrow.graph.calling import call_arguments
from regrow.graph.undisturbed import undisturbed
from regrow.renewal.base import Respond


def responding(
    model: nn.Module, layers: Collection[Filters], inputs: ExampleInputs
) -> dict[str, Respond]:
    """Run a model once, and keep what some of its layers received.

    Args:
        model: The bare model. Left as it was.
        layers: Which.
        inputs: One batch, as the model takes it.

    Returns:
        By module path, `Layer.respond`; layers that are not called as modules are not in it. To renew from the input
        on, ask again for each layer behind one that was written.
    """
    paths = {
        model.get_submodule(layer.weight.rpartition(".")[0]): layer.path
        for layer in layers
        if layer.weight.endswith("weight")
    }
    modules: dict[nn.Module, str] = {
        module: path for module, path in paths.items() if isinstance(module, (_ConvNd, nn.Linear))
    }
    calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}

    def before(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls.setdefault(modules[module], []).append((args, named))

    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        for module in modules:
            handle = module.register_forward_pre_hook(before, with_kwargs=True)
            stack.callback(handle.remove)
        args, kwargs = call_arguments(inputs)
        model(*args, **kwargs)
    return {
        path: _respond(module, calls[path]) for module, path in modules.items() if path in calls
    }


def _respond(
    module: nn.Module, calls: list[tuple[tuple[Any, ...], dict[str, Any]]]
) -> Callable[[Tensor], Tensor]:
    """All calls of the module, one after the other."""

    def respond(weight: Tensor) -> Tensor:
        own = module._parameters  # pyright: ignore[reportPrivateUsage]
        kept = dict(own)
        try:
            own.update(weight=nn.Parameter(weight, requires_grad=False), bias=None)
            with torch.no_grad():
                given = [module.forward(*args, **named) for args, named in calls]
        finally:
            own.update(kept)
        axis = -1 if isinstance(module, nn.Linear) else 1 - weight.ndim
        return torch.cat([each.movedim(axis, 0).flatten(1) for each in given], 1)

    return respond
