"""The wiring of a model: every layer's filters, who reads them, and a table of it for people.

What `graph/trace.py` gives, and what everybody else begins with: the loop, grafting, the diagnostics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from textwrap import wrap
from typing import Final, get_args

from regrow.errors import ConfigError, UnknownNameError
from regrow.graph.filters import Filters, LayerKind
from regrow.graph.flows import Flow
from regrow.graph.users import others

_WIDEST: Final = (30, 14, 7, 18, 16, 26)
"""Characters a column may take: layer, kind, filters, weight, norm, read by. What is left of a line is the note's."""

_LINE: Final = 120


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """Where each layer's filters live and who reads them, as `trace` found it.

    Attributes:
        layers: In the order in which the model calls them.
        remarks: What the trace could not follow, and layers that did not run, one line each.
        untraced: Module paths of layers that are not among `layers`, and that nothing is done with: their weights are
            computed, or they did not run.
        shared: By name, the tensors of these layers, their norms and their readers that somebody else uses too, and all
            that use them, in words: layers and norms by path; a tensor with several names is there by each. Nothing is
            written there. A wiring that was made by hand says it of those it knows of.
        flows: By module path, where a layer's filters leave in a forward pass. A wiring that was made by hand needs
            none; recipes that ask whether a filter is silent cannot judge its layers then.
    """

    layers: tuple[Filters, ...]
    remarks: tuple[str, ...] = ()
    untraced: tuple[str, ...] = ()
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    flows: Mapping[str, Flow] = field(default_factory=dict[str, Flow], repr=False, compare=False)

    def __getitem__(self, path: str) -> Filters:
        """The layer at a module path, such as ``layer1.0.conv1``; `UnknownNameError` where none was traced there."""
        for layer in self.layers:
            if layer.path == path:
                return layer
        raise UnknownNameError("layer", path, (layer.path for layer in self.layers))

    def __contains__(self, path: object) -> bool:
        """Whether a layer with this module path was traced."""
        return any(layer.path == path for layer in self.layers)

    def __iter__(self) -> Iterator[str]:
        """The module paths, in call order."""
        return (layer.path for layer in self.layers)

    def __len__(self) -> int:
        """Number of layers."""
        return len(self.layers)

    def renewable(
        self,
        layers: Sequence[str] = ("conv",),
        include: Sequence[str] = ("*",),
        exclude: Sequence[str] = (),
    ) -> tuple[Filters, ...]:
        """The layers that a recipe may act on.

        Args:
            layers: Kinds of layers: ``conv``, ``conv_transpose``, ``linear``.
            include: Patterns of module paths, as in a shell (``layer1.*``); a layer must match one of them, and one
                that nobody was seen to read (`Filters.unread`) another than ``*``.
            exclude: Patterns of module paths; a layer must match none of them.

        Returns:
            The layers of those kinds that match, in call order, without output heads: a head's units are the answer
            itself. A layer whose readers are not known (`Filters.refused`) is among them: its own weights are known.

        Raises:
            UnknownNameError: A kind that does not exist.
            ConfigError: A pattern that matches no layer of the model, those of `untraced` included.

        Edge cases:
            Every layer is a head or of another kind: an empty tuple.
        """
        for kind in layers:
            if kind not in get_args(LayerKind):
                raise UnknownNameError("kind of layer", kind, get_args(LayerKind))
        for argument, patterns in (("include", include), ("exclude", exclude)):
            for pattern in patterns:
                if not any(fnmatchcase(path, pattern) for path in (*self, *self.untraced)):
                    raise ConfigError(
                        f"{argument} pattern '{pattern}' must match a layer, and matches none of: "
                        f"{', '.join((*self, *self.untraced))}"
                    )
        return tuple(
            layer
            for layer in self.layers
            if layer.kind in layers
            and not layer.is_head
            and any(
                fnmatchcase(layer.path, pattern) and not (layer.unread and pattern == "*")
                for pattern in include
            )
            and not any(fnmatchcase(layer.path, pattern) for pattern in exclude)
        )

    def __str__(self) -> str:
        """A table of the layers, 120 characters wide at most, and the remarks."""
        head = ("layer", "kind", "filters", "weight", "norm", "read by", "note")
        table = [head, *(_row(layer) for layer in self.layers)]
        widths = [
            min(widest, max(len(row[column]) for row in table))
            for column, widest in enumerate(_WIDEST)
        ]
        rest = _LINE - sum(widths) - 2 * len(widths)
        lines = [
            "  ".join(
                _fit(cell, width).rjust(width) if column == 2 else _fit(cell, width).ljust(width)
                for column, (cell, width) in enumerate(zip(row, [*widths, rest], strict=True))
            ).rstrip()
            for row in table
        ]
        lines.insert(1, "-" * max(len(line) for line in lines))
        told = [f"{name} is used by {others(users, '')}" for name, users in self.shared.items()]
        for remark in (*self.remarks, *told):
            lines += wrap(f"note: {remark}", _LINE, subsequent_indent="      ")
        return "\n".join(lines)


def _row(layer: Filters) -> tuple[str, ...]:
    shape = "x".join(str(size) for size in layer.weight_shape)
    if layer.groups > 1:
        shape += f" /{layer.groups}"
    if layer.is_head:
        note = "output head"
    elif layer.refused:
        note = f"not followed: {layer.refused}"
    else:
        note = layer.coupled
    return (
        layer.path,
        layer.kind,
        str(layer.count),
        shape,
        _first([norm.path for norm in layer.norms]),
        _first([reader.path for reader in layer.readers]),
        note,
    )


def _first(names: Sequence[str]) -> str:
    """One name, and how many more there are."""
    if not names:
        return "-"
    return names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
