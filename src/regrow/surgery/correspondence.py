"""Which tensor of a copy stands for which of the model: by name, by name under another prefix, or by order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from regrow.errors import ConfigError

_TRIED = 20
"""Watched weights by which prefixes are looked for: all of a copy's have the same."""


def by_name(
    own: Mapping[str, Tensor], model: Mapping[str, Tensor], wanted: Sequence[str], *, kind: str
) -> dict[str, str]:
    """The names of a copy that hold what the model has under others: two prefixes may differ.

    A copy of the whole inside a wrapper has ``module.conv.weight`` for ``conv.weight``; a copy of the part ``q_net``
    has ``conv.weight`` for ``q_net.conv.weight``. Of all pairs of prefixes the one is taken under which most watched
    weights are found.
    """
    scores = {
        pair: sum(
            _found(own, model, name, pair) is not None
            for name in wanted
            if name.startswith(pair[0])
        )
        for pair in dict.fromkeys(_pairs(own, wanted[:_TRIED]))
    }
    best = max(scores.values(), default=0)
    fitting = [pair for pair, score in scores.items() if score == best and score]
    if ("", "") in fitting:
        fitting = [("", "")]
    if not fitting:
        _refuse_shapes(own, model, wanted, kind=kind)
        raise ConfigError(
            "a companion must hold the model's weights under their names, also behind one prefix more or less, and "
            f"{kind} has none of {', '.join(sorted(wanted)[:6])} (attach: companions)"
        )
    if len(fitting) > 1:
        parts = " or ".join(
            f"'{pair[0].rstrip('.') or 'the model'}' under '{pair[1]}'" for pair in fitting[:3]
        )
        raise ConfigError(
            f"a companion must be the copy of the model or of one part of it, and {kind} fits several ways: it may "
            f"hold {parts}. Give the copy itself, with the model's names (attach: companions)"
        )
    (pair,) = fitting
    names = {name: _other(name, pair) for name in model if name.startswith(pair[0])}
    found = {name: other for name, other in names.items() if other in own}
    for name, other in found.items():
        _check_shape(name, own[other], model[name], kind=kind)
    return found


def by_order(shadows: Sequence[Tensor], model: Mapping[str, Tensor], *, kind: str) -> list[str]:
    """The model's names of tensors that lie in the order of its parameters, as in averages that are no modules."""
    parameters: dict[int, str] = {}
    for name, each in model.items():
        if isinstance(each, nn.Parameter):
            parameters.setdefault(id(each), name)
    every = list(parameters.values())
    trained = [name for name in every if model[name].requires_grad]
    for names in (every, trained):
        if len(names) == len(shadows):
            for name, each in zip(names, shadows, strict=True):
                _check_shape(name, each, model[name], kind=kind)
            return names
    raise ConfigError(
        f"an average that is no module must hold one tensor for each parameter of the model, in its order: there are "
        f"{len(every)}, {len(trained)} of them trained, and {kind} holds {len(shadows)} (attach: companions)"
    )


def _pairs(own: Iterable[str], wanted: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Prefixes behind which a wanted name and one of the copy's go on alike."""
    for name in wanted:
        parts = name.split(".")
        for other in own:
            others = other.split(".")
            alike = 0
            while alike < min(len(parts), len(others)) and parts[-1 - alike] == others[-1 - alike]:
                alike += 1
            if alike:
                yield _prefix(parts, alike), _prefix(others, alike)


def _prefix(parts: Sequence[str], alike: int) -> str:
    return "".join(f"{part}." for part in parts[: len(parts) - alike])


def _other(name: str, pair: tuple[str, str]) -> str:
    return pair[1] + name[len(pair[0]) :]


def _found(
    own: Mapping[str, Tensor], model: Mapping[str, Tensor], name: str, pair: tuple[str, str]
) -> Tensor | None:
    """The copy's tensor; None for one of another shape, and for the model's own."""
    there = own.get(_other(name, pair))
    fits = there is not None and there.shape == model[name].shape and there is not model[name]
    return there if fits else None


def _refuse_shapes(
    own: Mapping[str, Tensor], model: Mapping[str, Tensor], wanted: Iterable[str], *, kind: str
) -> None:
    """Where a name is there and only the shape is not, that is what is told."""
    for name in wanted:
        for other in own:
            if other == name or other.endswith(f".{name}"):
                _check_shape(name, own[other], model[name], kind=kind)


def _check_shape(name: str, there: Tensor, here: Tensor, *, kind: str) -> None:
    if there.shape != here.shape:
        raise ConfigError(
            f"a companion must be a copy of the model, and in {kind} {name} has shape {tuple(there.shape)}, the "
            f"model's {tuple(here.shape)} (attach: companions)"
        )
