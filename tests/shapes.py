"""Shapes of formulas are checked where tests meet them: whatever file has formulas, its functions come checked from it.

jaxtyping has an import hook that checks classes too. A class says itself what it refuses, in words that are tested.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import final

from jaxtyping import jaxtyped


def check_shapes_in(modules: Iterable[str]) -> None:
    """From now on, and while jaxtyping is not told to look away."""
    sys.meta_path.insert(0, _Finder(frozenset(modules)))


@final
class _Finder(MetaPathFinder):
    def __init__(self, modules: frozenset[str]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


@final
class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        from beartype import beartype

        super().exec_module(module)
        for name, each in list(vars(module).items()):
            if inspect.isfunction(each) and each.__module__ == module.__name__:
                setattr(module, name, jaxtyped(each, typechecker=beartype))
