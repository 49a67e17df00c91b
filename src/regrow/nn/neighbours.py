"""The module in front of another, and behind it, where nothing else comes between: by a run, or by an nn.Sequential."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Final, cast

from torch import nn

from regrow.errors import TraceError
from regrow.graph.calling import ExampleInputs
from regrow.nn.flow import Flow
from regrow.nn.norm_act import FusedReLU

_TORCHS: Final = frozenset(vars(nn.Module()))
"""Attributes that every module has."""

_UNKNOWN = "what its output goes to is not known: give example_inputs"


class Neighbours:
    """Which module takes another's whole output, alone, and takes nothing else; the model is left as it was.

    Without example inputs only neighbours inside an ``nn.Sequential`` are known. With `training`, what holds must hold
    in training mode too. A TraceError where the model does not run on them.
    """

    def __init__(
        self, model: nn.Module, example_inputs: ExampleInputs | None, *, training: bool = True
    ) -> None:
        self._behind = _in_sequentials(model)
        self._flow: Flow | None = None
        self._error = ""
        if example_inputs is None:
            return
        self._flow = Flow(model)
        try:
            self._flow.run(example_inputs, training=False)
        except Exception as error:
            raise TraceError(
                "the model must run on the example inputs; its forward raised "
                f"{type(error).__name__}: {error}"
            ) from error
        if training:
            try:
                self._flow.run(example_inputs, training=True)
            except Exception as error:  # told of where a layer would need to know more
                self._error = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"

    def follower(
        self, module: nn.Module, *, flattened: bool = False
    ) -> tuple[nn.Module | None, str]:
        """The one module that takes all of another's output, entry by entry, and nothing else; or None, and why.

        Where `flattened`, it may take it flattened, a row a sample (see `flat`).
        """
        flow = self._flow
        if flow is None or not flow.arrivals(module):
            return self._next_member(module)
        behind, why = flow.follower(module)
        if behind is None:
            return None, why
        if self._error and self._behind.get(module) is not behind:
            return None, f"the model does not run in training mode ({self._error})"
        flat = flattened and flow.views_flat(module, behind)
        if not (flat or flow.views_whole(module, behind)):
            return None, f"'{flow.paths[behind]}' takes another view of its output"
        return behind, ""

    def _next_member(self, module: nn.Module) -> tuple[nn.Module | None, str]:
        """Of a module that did not run: what is behind it in an nn.Sequential."""
        behind = self._behind.get(module)
        if behind is None:
            return None, _UNKNOWN
        if self._flow is not None and self._flow.arrivals(behind):
            # Who called that one without the one in front needs it as it is.
            return None, "it did not run on the example inputs, and what is behind it did"
        return behind, ""

    def flat(self, module: nn.Module, behind: nn.Module) -> bool:
        """Whether a follower takes rows of flattened maps; False also where nothing was run."""
        flow = self._flow
        return flow is not None and bool(flow.arrivals(behind)) and flow.views_flat(module, behind)

    def shapes(self, module: nn.Module) -> list[tuple[int, ...]] | None:
        """The shapes of what a module took, one a call; None where that is not known."""
        arrivals = () if self._flow is None else self._flow.arrivals(module)
        return [tuple(each.tensor.shape) for each in arrivals if each.tensor is not None] or None


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody hooked this module: it would look at something else afterwards, or at nothing."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for kind in kinds)


def held_outside(model: nn.Module) -> dict[nn.Module, str]:
    """Modules that an attribute holds without registering them: in a plain list, tuple or dict, or by itself.

    Each to where it was found first. A replacement would not reach it there.
    """
    found: dict[nn.Module, str] = {}
    for parent in model.modules():
        if isinstance(parent, FusedReLU):
            continue  # which knows its norm by intent
        for name, value in vars(parent).items():
            for module in () if name in _TORCHS else _modules_in(value, set()):
                found.setdefault(module, f"'{name}' of the {type(parent).__name__}")
    return found


def put_in_place(parents: Iterable[nn.Module], new: Mapping[nn.Module, nn.Module]) -> None:
    """Give every registered place of a module to the one that comes instead of it."""
    for parent in parents:
        places = parent._modules  # pyright: ignore[reportPrivateUsage] # `named_children` names each module once
        for name, child in places.items():
            if child is not None and new.get(child, parent) is not parent:
                places[name] = new[child]


def _modules_in(value: object, seen: set[int]) -> Iterator[nn.Module]:
    """The modules in a nest of containers, which may hold itself."""
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, list | tuple | dict) and id(value) not in seen:
        seen.add(id(value))
        within = cast("Iterable[object]", value.values() if isinstance(value, dict) else value)
        for each in within:
            yield from _modules_in(each, seen)


def _in_sequentials(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """Members of an nn.Sequential and those right behind them, both of them nowhere else in the model."""
    counts = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    behind: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        # A subclass with a forward of its own may call its members in any order.
        if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            members = [each for each in module if type(each) is not nn.Identity]
            # A module that is registered twice runs at two places, and has two modules behind it.
            behind |= {
                one: other for one, other in pairwise(members) if counts[one] == counts[other] == 1
            }
    return behind
