"""One run of a model on a few examples: which modules can be hooked, and what they take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from torch import Tensor, nn

from regrow.graph.filters import Filters
from regrow.graph.plain import is_layer
from regrow.graph.undisturbed import hooked
from regrow.loop.measure.examples import Examples
from regrow.loop.measure.uses import Fate, Uses, only_norm


@dataclass(kw_only=True)
class _Calls:
    """What one module took and gave, call by call: shapes, or None where it was no tensor."""

    input: list[tuple[int, ...] | None] = field(default_factory=list[tuple[int, ...] | None])
    output: list[tuple[int, ...] | None] = field(default_factory=list[tuple[int, ...] | None])
    fates: list[Fate] = field(default_factory=list[Fate])
    uses: int = 0


class Survey:
    """What the modules of some layers, of their readers and of their norms do on the first examples."""

    def __init__(
        self, model: nn.Module, layers: Iterable[Filters], examples: Examples, *, rows: int
    ) -> None:
        self._named = dict(model.named_modules())
        self._path_of = {module: path for path, module in self._named.items()}
        self.rows = rows  # number of examples
        layers = list(layers)
        working = [each.weight for filters in layers for each in (filters, *filters.readers)]
        norms = {self.named(norm.path) for filters in layers for norm in filters.norms}
        self._norms = norms
        self._calls = {each: _Calls() for each in (*map(self.module, working), *norms)}
        weights = {module: _weight(module) for module in self._calls if module not in norms}
        uses = Uses(weight for weight in weights.values() if weight is not None)
        with hooked(*self._hooks(uses, weights)), uses:
            self.outputs = examples.run(0, rows)  # what the model gave
        self._elsewhere = {
            module
            for module, weight in weights.items()
            # A weight that works elsewhere too (a tied one, a functional call) hears the filter there as well.
            if weight is None or uses.of(weight) != self._calls[module].uses
        }

    def _hooks(
        self, uses: Uses, weights: dict[nn.Module, Tensor | None]
    ) -> tuple[Callable[..., None], Callable[..., None]]:
        begun: list[tuple[nn.Module, int]] = []

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            calls = self._calls.get(module)
            if calls is None:
                return
            first = args[0] if args else None
            calls.input.append(tuple(first.shape) if isinstance(first, Tensor) else None)
            if module in self._norms and isinstance(first, Tensor):
                uses.normed(first, module)
            weight = weights.get(module)
            if weight is not None:
                begun.append((module, uses.of(weight)))

        def after(module: nn.Module, args: Any, output: Any) -> None:
            calls = self._calls.get(module)
            if calls is None:
                return
            tensor = isinstance(output, Tensor)
            calls.output.append(tuple(output.shape) if tensor else None)
            weight = weights.get(module)
            # What raised inside and was caught outside is still on the pile.
            while weight is not None and begun:
                whose, at = begun.pop()
                if whose is module:
                    calls.uses += uses.of(weight) - at
                    break
            if tensor and module not in self._norms:
                calls.fates.append(uses.follow(output))

        return before, after

    def named(self, path: str) -> nn.Module:
        """The module at a path."""
        return self._named[path]

    def module(self, weight: str) -> nn.Module:
        """The module that owns a weight."""
        return self._named[weight.rpartition(".")[0]]

    def only_norm(self, weight: str) -> nn.Module | None:
        """The norm that alone takes what a layer gives."""
        return only_norm(self._calls[self.module(weight)].fates)

    def why_not(self, module: nn.Module, at: Literal["input", "output"], axis: int) -> str:
        """What keeps a module's inputs or outputs from being changed example by example and channel by channel."""
        path = self._path_of[module] or "the model itself"
        if module in self._elsewhere:
            return f"the weight of {path} works outside of its module, or is computed"
        calls = self._calls[module]
        shapes = calls.input if at == "input" else calls.output
        if not shapes:
            return f"{path} is not called as a module"
        for shape in shapes:
            if shape is None:
                return f"{path} is not called with a tensor as its first argument"
            channels = axis if axis >= 0 else len(shape) + axis
            if not 0 < channels < len(shape) or shape[0] != self.rows:
                return (
                    f"the {at} of {path} has no axis 0 of examples (shape {shape} for {self.rows})"
                )
        return ""


def _weight(module: nn.Module) -> Tensor | None:
    if not is_layer(module):
        return None
    return cast("Tensor | None", module._parameters.get("weight"))  # pyright: ignore[reportPrivateUsage]
