"""A network as a frozen list of steps, found by tracing it; what is no plain chain of known layers is refused.

Called by the laboratory, to choose an engine, and by `engine/stack.py`; `engine/plan.py` makes layers of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812

from regrow.engine.describe import UnsupportedError, describe, is_known, leaky_relu
from regrow.engine.steps import (
    Conv2dStep,
    FlattenStep,
    LayerNormStep,
    LinearStep,
    ReLUStep,
    Step,
)
from regrow.nn.neighbours import has_hooks


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a network computes, without its weights.

    Two networks with equal programs can be trained side by side in one `Stack`.

    Attributes:
        steps: In the order of the forward pass; modules that change nothing are left out.

    Examples:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        >>> [type(step).__name__ for step in program_of(net).steps]
        ['Conv2dStep', 'ReLUStep', 'FlattenStep', 'LinearStep']
    """

    steps: tuple[Step, ...]

    @property
    def dense(self) -> tuple[str, ...]:
        """Paths of the dense layers."""
        return tuple(step.path for step in self.steps if isinstance(step, LinearStep))

    def reader(self, path: str) -> str | None:
        """Who takes a convolution's or dense layer's units together: it is called with what each of them gives.

        The path of the next of them, or of a layer norm in front of that; None for the last.
        """
        kinds = (Conv2dStep, LinearStep, LayerNormStep)
        mixing = [each.path for each in self.steps if isinstance(each, kinds)]
        behind = mixing[mixing.index(path) + 1 :]
        return behind[0] if behind else None


def program_of(model: nn.Module) -> Program:
    """Find the program of a network.

    The network is traced with `torch.fx`: the calls of its `forward` must be a chain in which each layer reads the one
    before, and each known layer is called once. A layer is known by its exact class and its settings.

    Args:
        model: The network. Read, never written.

    Returns:
        Its program.

    Raises:
        UnsupportedError: The network cannot be traced, is no chain, holds a layer that the engine has no arithmetic
            for, or has parameters that are frozen, shared, or not part of the chain. The message names the module and
            why; such a network is trained as a plain module.

    Examples:
        >>> program_of(nn.Sequential(nn.Conv2d(1, 4, 3, dilation=2)))
        Traceback (most recent call last):
        regrow.engine.describe.UnsupportedError: the engine cannot run '0': dilation must be (1, 1), got (2, 2)
    """
    for path, module in model.named_modules():
        # Containers are not called by the engine: a hook on one would be passed over without a word.
        if not is_known(module) and has_hooks(module):
            raise UnsupportedError(
                path or type(model).__name__, "it has hooks, which the engine would not call"
            )
    steps = [step for call in _chain(model) if (step := _step(*call)) is not None]
    _check_parameters(model, steps)
    return Program(steps=tuple(steps))


class _Tracer(fx.Tracer):
    """Stops at every module without parts, so that an unknown layer is named and not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m.children()) or super().is_leaf_module(m, module_qualified_name)


def _chain(model: nn.Module) -> list[tuple[fx.Node, nn.Module | None]]:
    """The calls in their order, and the module of each."""
    name = type(model).__name__
    if is_known(model):
        raise UnsupportedError(name, "a network is more than one layer: put it into a Sequential")
    try:
        nodes = list(_Tracer().trace(model).nodes)
    except Exception as error:  # whatever the network's own code raises when it meets a symbol
        told = " ".join(str(error).split())
        raise UnsupportedError(name, f"torch.fx cannot trace it: {told}") from error
    inputs = [node for node in nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise UnsupportedError(name, f"it must have one input, it has {len(inputs)}")
    calls: list[tuple[fx.Node, nn.Module | None]] = []
    last, seen = inputs[0], set[str]()
    for node in nodes[1:]:
        place = str(node.target) if node.op == "call_module" else node.name
        # A second reader is a skip connection. A chain has no place for it, and a ReLU in place would overwrite what it
        # needs.
        if node.all_input_nodes != [last] or len(last.users) != 1:
            raise UnsupportedError(
                place, f"each layer must read the one before and nothing else ({name})"
            )
        if node.op == "output":
            if node.args != (last,):
                raise UnsupportedError(name, "it must return the logits alone")
            break
        if place in seen:
            raise UnsupportedError(place, "it is called twice")
        seen.add(place)
        calls.append((node, model.get_submodule(place) if node.op == "call_module" else None))
        last = node
    return calls


def _step(node: fx.Node, module: nn.Module | None) -> Step | None:
    if module is not None:
        return describe(module, path=str(node.target))
    target: Any = node.target
    rest, options = node.args[1:], dict(node.kwargs)
    # Whether it works in place says nothing of what it computes.
    options.pop("inplace", None)
    if target in (torch.relu, F.relu, "relu", torch.relu_, "relu_"):
        if not options and len(rest) <= 1:
            return ReLUStep(path=node.name)
    elif target in (F.leaky_relu, F.leaky_relu_):
        given = {**dict(zip(("negative_slope", "inplace"), rest, strict=False)), **options}
        return leaky_relu(given.get("negative_slope", 0.01), path=node.name)
    elif target in (torch.flatten, "flatten"):
        given = {**dict(zip(("start_dim", "end_dim"), rest, strict=False)), **options}
        if {"start_dim": 0, "end_dim": -1, **given} == {"start_dim": 1, "end_dim": -1}:
            return FlattenStep(path=node.name)
        raise UnsupportedError(node.name, "all axes but the first must be flattened")
    told = target if isinstance(target, str) else getattr(target, "__name__", repr(target))
    raise UnsupportedError(
        node.name, f"the call of {told} is none of relu, leaky_relu and flatten(1)"
    )


def _check_parameters(model: nn.Module, steps: list[Step]) -> None:
    """All parameters must be learnt, each by one layer of the chain."""
    known = {step.path for step in steps}
    named = list(model.named_parameters(remove_duplicate=False))
    if len({id(parameter) for _, parameter in named}) < len(named):
        raise UnsupportedError(type(model).__name__, "two of its layers share a parameter")
    if not named:
        raise UnsupportedError(type(model).__name__, "it has no parameters")
    for name, parameter in named:
        if name.rpartition(".")[0] not in known:
            raise UnsupportedError(name, "the parameter is not used by the forward pass")
        if not parameter.requires_grad:
            raise UnsupportedError(name, "the parameter is frozen")
