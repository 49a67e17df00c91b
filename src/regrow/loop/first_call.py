"""The first training pass of a model: what it is called with, right before it is made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from regrow.graph.frames import PLACE, compiled_wrappers, is_recorded, uncompiled

Before = Callable[[tuple[Any, ...], Mapping[str, Any]], object]


def at_first_call(model: nn.Module, before: Before) -> Callable[[], None]:
    """Call this right before the next training pass, once, so that it sees the pass; what comes back calls it off."""
    # What torch.compile has made is called in the model's place, and what is called further inside would be compiled.
    places = [*compiled_wrappers(model), model]
    held = [(each, each.__dict__.get(PLACE)) for each in places]

    def give_back() -> None:
        for module, own in held:
            if module.__dict__.get(PLACE) in slots:
                module.__dict__.pop(PLACE)
                if own is not None:
                    module.__dict__[PLACE] = own
        held.clear()

    def slot(module: nn.Module, own: Callable[..., Any] | None) -> Callable[..., Any]:
        def inner(*args: Any, **kwargs: Any) -> Any:
            return (own or module._call_impl)(*args, **kwargs)  # pyright: ignore[reportPrivateUsage]

        def first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
            if not (held and module.training and torch.is_grad_enabled()) or is_recorded():
                return False
            give_back()
            # The model's weights are looked at as they are: a cast of the trainer's is none of theirs.
            with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                before(args, kwargs)
            return True

        compiling = "torch._dynamo" in sys.modules
        # Where it is compiled, a call takes itself for one that is written down.
        meets: Any = torch.compiler.disable(first) if compiling else first

        def called(*args: Any, **kwargs: Any) -> Any:
            return (module if meets(args, kwargs) else inner)(*args, **kwargs)

        return uncompiled(called, inner) if compiling else called

    slots = [slot(module, own) for module, own in held]
    for (module, _), each in zip(held, slots, strict=True):
        module.__dict__[PLACE] = each
    return give_back
