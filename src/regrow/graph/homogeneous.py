"""What keeps a layer's filters from being heard c times as loud where they are c times as large: tried, not listed.

Called by `loop/start/needs` at attach, for renewals that make filters louder and their readers softer.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regrow.graph.calling import ExampleInputs, call_arguments, tensors_in
from regrow.graph.filters import Filters
from regrow.graph.plain import has_columns
from regrow.graph.undisturbed import undisturbed

_FACTORS: Final = (1024.0, 2.0**-10)
"""Powers of two multiply without rounding; one that is large finds where something saturates."""


def obstacles(
    model: nn.Module, layers: Collection[Filters], inputs: ExampleInputs
) -> dict[str, str]:
    """What stands between layers and their readers that is not positively homogeneous, as ReLU is; "" where nothing."""
    # The model runs with a layer's weight and bias multiplied by a power of two: its readers must receive exactly that
    # multiple of it, and of everything else what they received before. So the inputs must be a batch on which filters
    # are heard; a layer whose readers are not known, or not called as modules, or that has a bias of somebody else's,
    # cannot be judged.
    modules = dict(model.named_modules())
    return {layer.path: _obstacle(model, layer, modules, inputs) for layer in layers}


def _obstacle(
    model: nn.Module, layer: Filters, modules: Mapping[str, nn.Module], inputs: ExampleInputs
) -> str:
    readers = {each.path: modules[each.path] for each in layer.readers if each.path in modules}
    if layer.refused or not layer.readers or len(readers) < len(layer.readers):
        return "readers that are not all known"
    before = _received(model, readers, inputs)
    if not before.keys() >= readers.keys():
        return "a reader that is not called as a module"
    if not any(bool(before[path][:, own].any()) for path, own in _channels(layer).items()):
        return "nothing to say on the inputs on which it was tried"
    for factor in _FACTORS:
        with _scaled(model, layer, factor):
            after = _received(model, readers, inputs)
        if not _follows(layer, factor, before, after):
            return f"{_first_other(model, layer, factor, inputs)} before its readers"
    return ""


def _channels(layer: Filters) -> dict[str, list[int]]:
    """What is this layer's of what each reader takes."""
    return {
        reader.path: sorted({channel for each in reader.channels for channel in each})
        for reader in layer.readers
    }


def _follows(
    layer: Filters, factor: float, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> bool:
    """Whether the readers receive the multiple of the layer, and of everything else what they did."""
    for path, channels in _channels(layer).items():
        expected = before[path].clone()
        expected[:, channels] *= factor
        if path not in after or not torch.equal(after[path], expected):
            return False
    return True


@dataclass(frozen=True)
class _Step:
    """One call of a function: what it took and gave, and copies of what it gave."""

    name: str
    taken: tuple[Tensor, ...]
    given: tuple[Tensor, ...]
    copies: tuple[Tensor, ...]


class _Steps(TorchFunctionMode):
    """Writes down each function that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Step] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call, and write down."""
        named = kwargs or {}
        result = func(*args, **named)
        given = tuple(tensors_in(result))
        if given:
            copies = tuple(each.detach().clone() for each in given)
            taken = tuple(tensors_in((args, named)))
            self.found.append(_Step(func.__name__, taken, given, copies))
        return result


def _first_other(model: nn.Module, layer: Filters, factor: float, inputs: ExampleInputs) -> str:
    """The first function that makes neither the same nor the multiple of what is the same or the multiple."""
    with _Steps() as before:
        _received(model, {}, inputs)
    with _scaled(model, layer, factor), _Steps() as after:
        _received(model, {}, inputs)
    named = dict(model.named_parameters(remove_duplicate=False))
    behind = {id(named[each.weight]) for each in layer.readers if each.weight in named}
    for one, other in zip(before.found, after.found, strict=False):
        if behind & {id(each) for each in other.taken}:
            # Readers, and what is made of what they gave.
            behind.update(id(each) for each in other.given)
            continue
        if not _alike(one, other, factor):
            return one.name
    return "something that is no ReLU"


def _alike(one: _Step, other: _Step, factor: float) -> bool:
    return one.name == other.name and all(
        was.shape == now.shape and bool(((now == was) | (now == was * factor)).all())
        for was, now in zip(one.copies, other.copies, strict=False)
    )


@contextmanager
def _scaled(model: nn.Module, layer: Filters, factor: float) -> Generator[None]:
    """While a layer's weight and bias are multiplied."""
    named = dict(model.named_parameters(remove_duplicate=False))
    own = [named[name] for name in (layer.weight, layer.bias) if name in named]
    kept = [each.detach().clone() for each in own]
    try:
        with torch.no_grad():
            for each in own:
                each.mul_(factor)
        yield
    finally:
        with torch.no_grad():
            for each, values in zip(own, kept, strict=True):
                each.copy_(values)


def _received(
    model: nn.Module, modules: Mapping[str, nn.Module], inputs: ExampleInputs
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
    if isinstance(module, nn.Linear) or has_columns(module):
        return x.reshape(-1, x.shape[-1])
    dims = x.ndim - len(getattr(module, "kernel_size", ()))
    return x if dims == 2 else x[None]
