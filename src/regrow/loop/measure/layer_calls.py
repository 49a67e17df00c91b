"""LayerCalls: what comes to some layers while a model runs, kept so that each call can be made with another weight."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regrow.graph import Filters
from regrow.graph.calling import copied
from regrow.graph.plain import is_layer

LayerCall = Callable[[Tensor], Tensor]
"""From a weight to what the call gives with it and no bias."""

_FUNCTIONS: Final = frozenset(
    ("linear", *(f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in (1, 2, 3)))
)
_BIAS: Final = 2
"""Where these have theirs among their arguments, behind the input and the weight."""


class LayerCalls:
    """Notes the calls of some layers.

    Modules that are one layer are called again as they are, whatever their class makes of the weight. Of a layer that
    is no such module, or is not called, the functions are noted that are called with its weight.
    """

    def __init__(self, model: nn.Module, layers: Collection[Filters]) -> None:
        named = dict(model.named_parameters(remove_duplicate=False))
        self.weights = {id(named[each.weight]): each.path for each in layers}
        self._modules: dict[nn.Module, str] = {}
        for each in layers:
            owner, _, attribute = each.weight.rpartition(".")
            module = model.get_submodule(owner)
            if attribute == "weight" and is_layer(module):
                self._modules[module] = each.path
        self._of_modules: dict[str, list[LayerCall]] = {}
        self.of_functions: dict[str, list[LayerCall]] = {}

    def of(self, path: str) -> list[LayerCall]:
        """The calls of a layer, in their order."""
        return self._of_modules.get(path) or self.of_functions.get(path, [])

    @contextmanager
    def noted(self, autocast: Mapping[str, torch.dtype]) -> Generator[None]:
        """Note the calls while the block runs, which casts to these types."""

        def before(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            again = _module_again(module, *copied(args, named), autocast)
            self._of_modules.setdefault(self._modules[module], []).append(again)

        with ExitStack() as stack:
            for module in self._modules:
                handle = module.register_forward_pre_hook(before, with_kwargs=True)
                stack.callback(handle.remove)
            stack.enter_context(_Functions(self, autocast))
            yield


class _Functions(TorchFunctionMode):
    """Notes which functions are called with a weight."""

    def __init__(self, calls: LayerCalls, autocast: Mapping[str, torch.dtype]) -> None:
        super().__init__()
        self._calls, self._autocast = calls, autocast

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if getattr(func, "__name__", "") in _FUNCTIONS:
            weight = args[1] if len(args) > 1 else named.get("weight")
            path = self._calls.weights.get(id(weight))
            if path is not None:
                again = _function_again(func, *copied(args, named), self._autocast)
                self._calls.of_functions.setdefault(path, []).append(again)
        return func(*args, **named)


def _module_again(
    module: nn.Module,
    args: tuple[Any, ...],
    named: dict[str, Any],
    autocast: Mapping[str, torch.dtype],
) -> LayerCall:
    def again(weight: Tensor) -> Tensor:
        own = module._parameters  # pyright: ignore[reportPrivateUsage]
        kept, bias = dict(own), own.get("bias")
        try:
            own["weight"] = nn.Parameter(weight, requires_grad=False)
            if bias is not None:  # zeros and not None: a class of the user's may count on it
                own["bias"] = nn.Parameter(torch.zeros_like(bias), requires_grad=False)
            with cast(autocast):
                return module.forward(*args, **named)
        finally:
            own.update(kept)

    return again


def _function_again(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    named: dict[str, Any],
    autocast: Mapping[str, torch.dtype],
) -> LayerCall:
    given = list(args)
    if len(given) > _BIAS:
        given[_BIAS] = None
    named.pop("bias", None)

    def again(weight: Tensor) -> Tensor:
        by_name = {**named, "weight": weight} if "weight" in named else named
        if "weight" not in named:
            given[1] = weight
        with cast(autocast):
            return func(*given, **by_name)

    return again


@contextmanager
def cast(types: Mapping[str, torch.dtype]) -> Generator[None]:
    """Under this autocast, whatever there is now."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps", "xpu"):
            if kind in types or torch.is_autocast_enabled(kind):
                stack.enter_context(
                    torch.autocast(
                        kind, dtype=types.get(kind), enabled=kind in types, cache_enabled=False
                    )
                )
        yield
