"""What a module's own class draws: by its ``reset_parameters``, or by its constructor where it has none.

Called where a layer's initialiser is its class's own (`loop/start/initialisers.py`), and where a guard asks how long a
fresh parameter is (`guard/fresh.py`).
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


def drawn_anew(module: nn.Module) -> Callable[[], nn.Module] | None:
    """A function that makes a fresh module of the same kind, on the CPU with torch's generator; None: none is known.

    A constructor is called with the attributes that are named as its arguments. It is taken for an initialiser only if
    it fills every parameter, and each weight of the module itself varies with the seed: many leave that to their model.
    """
    if hasattr(type(module), "reset_parameters"):
        return lambda: _reset(module)
    arguments = _arguments(module)
    if arguments is None:
        return None

    def build() -> nn.Module:
        with torch.device("cpu"), _Unfilled():
            return type(module)(**arguments)

    return build if _draws(build, module) else None


def _reset(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module).to("cpu")
    twin.reset_parameters()  # pyright: ignore[reportCallIssue] # its presence was checked
    return twin


def _arguments(module: nn.Module) -> dict[str, Any] | None:
    """What the constructor was called with, as far as the module remembers it; None where it does not."""
    found: dict[str, Any] = {}
    own = module._parameters  # pyright: ignore[reportPrivateUsage]
    for name, each in inspect.signature(type(module)).parameters.items():
        if each.kind in {each.VAR_POSITIONAL, each.VAR_KEYWORD}:
            continue
        if name in own and isinstance(each.default, bool):
            found[name] = own[name] is not None  # bias=True
            continue
        value = getattr(module, name, each.empty)
        if value is each.empty or isinstance(value, (Tensor, nn.Module)):
            if each.default is each.empty:
                return None
            continue
        found[name] = value
    return found


def _draws(build: Callable[[], nn.Module], module: nn.Module) -> bool:
    """Whether what is built has the module's parameters, all filled, and each own weight varies with the seed."""
    made: list[dict[str, Tensor]] = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(2):
            torch.default_generator.manual_seed(seed)
            try:
                made.append(dict(build().named_parameters()))
            except Exception:  # whatever a foreign class raises: how it is made is not known then
                return False
    shapes = {name: each.shape for name, each in module.named_parameters()}
    # Of a module that also holds layers, those may be drawn while its own weight is a constant.
    own = [name for name, each in module.named_parameters() if each.ndim > 1 and ("." not in name)]
    return all(
        {name: each.shape for name, each in some.items()} == shapes
        and all(bool(each.isfinite().all()) for each in some.values())
        for some in made
    ) and all(not torch.equal(made[0][name], made[1][name]) for name in own)


class _Unfilled(TorchDispatchMode):
    """Makes what is empty no number, so that a parameter that nobody fills is seen."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run, and fill."""
        out = func(*args, **(kwargs or {}))
        if "empty" in func.__name__ and isinstance(out, Tensor) and out.is_floating_point():
            out.fill_(math.nan)
        return out
