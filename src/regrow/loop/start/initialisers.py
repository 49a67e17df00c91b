"""Which initialiser each layer had: as the user said, or the layer class's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from regrow.compose import Recipe
from regrow.draw import Initialiser, InitSpec, Key, draw_filters, drawn_anew, resolve_initialiser
from regrow.errors import ConfigError, RegrowError
from regrow.graph import Filters, Reader, Wiring
from regrow.renewal import Layer
from regrow.renewal.network import NetworkNeed

_STOCK_RESETS = {nn.Conv2d.reset_parameters, nn.Linear.reset_parameters}
"""The reset methods whose distribution is ``torch_default``; all convolutions share one."""


def resolve_layers(
    model: nn.Module,
    filters: Sequence[Filters],
    tensors: Mapping[str, Tensor],
    *,
    init: InitSpec | Mapping[str, InitSpec] | None,
    with_readers: bool,
    # Whether a layer is left out instead of raising what is wrong with its initialiser.
    unless: Callable[[Filters, RegrowError], bool] = lambda filters, error: False,
    also: Sequence[str] = (),
) -> list[Layer]:
    """Give every layer what its fresh filters are drawn from; `also`: paths that are drawn elsewhere."""
    if isinstance(init, Mapping):
        paths = [layer.path for layer in filters]
        if with_readers:
            paths += [reader.path for layer in filters for reader in layer.readers]
        paths = list(dict.fromkeys([*paths, *also]))
        for pattern in init:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise ConfigError(
                    f"init pattern '{pattern}' matches no layer that is drawn; drawn: {', '.join(paths)} (attach)"
                )

    def resolve(layer: Filters | Reader) -> Initialiser:
        path, weight = layer.path, layer.weight
        spec = _told(path, init)
        if spec is None:
            # Not by the path: where the weight is not called weight, the path is the weight's own name.
            owner, _, attribute = weight.rpartition(".")
            spec = _own(model.get_submodule(owner), attribute, path=path)
        # A name's scale goes by the numbers of one filter, wherever they lie.
        by_filter = tensors[weight].t() if layer.columns else tensors[weight]
        resolved = resolve_initialiser(spec, weight=by_filter, where=path)
        if resolved.fill is not None:
            # A function that does not fill must not be found out hours later.
            rehearsal = Key(seed=0, step=0, layer=path)
            nobody = torch.zeros(0, dtype=torch.int64, device="cpu")
            draw_filters(resolved, key=rehearsal, weight=tensors[weight], filters=nobody)
        return resolved

    found: list[Layer] = []
    for layer in filters:
        readers = layer.readers if with_readers else ()
        try:
            own = resolve(layer)
            theirs = {reader.path: resolve(reader) for reader in readers}
        except RegrowError as error:
            if not unless(layer, error):
                raise
        else:
            found.append(Layer(filters=layer, initialiser=own, reader_initialisers=theirs))
    return found


def draws_whole(recipe: Recipe) -> bool:
    """Whether a recipe draws a whole network anew."""
    return recipe.network is not None and NetworkNeed.FRESH in recipe.network.needs


def layers_drawn_whole(
    recipe: Recipe,
    model: nn.Module,
    wiring: Wiring,
    tensors: Mapping[str, Tensor],
    *,
    init: InitSpec | Mapping[str, InitSpec] | None,
    trained: Set[str],
) -> list[Layer]:
    """All layers with their initialisers, the output layer too, for a recipe that draws a whole network anew.

    Those that are not trained now are left out where theirs is not known.
    """
    if not draws_whole(recipe):
        return []
    layers = [each for each in wiring.layers if each.weight in tensors]
    return resolve_layers(
        model,
        layers,
        tensors,
        init=init,
        with_readers=False,
        unless=lambda layer, error: layer.weight not in trained,
    )


def _told(path: str, init: InitSpec | Mapping[str, InitSpec] | None) -> InitSpec | None:
    """What the user said about this layer: the first matching pattern, or the one answer for all."""
    if isinstance(init, Mapping):
        return next((spec for pattern, spec in init.items() if fnmatchcase(path, pattern)), None)
    return init


def _own(module: nn.Module, attribute: str, *, path: str) -> InitSpec:
    """The layer class's own way to draw its weight."""
    if getattr(type(module), "reset_parameters", None) in _STOCK_RESETS:
        return "torch_default"
    make = drawn_anew(module)
    if make is None:
        raise ConfigError(
            f"{type(module).__name__} has no reset_parameters() and no constructor that is seen to draw its weight, so "
            f"its initialiser is not known: tell it with init={{'{path}': ...}} ({path})"
        )
    return lambda weight: getattr(make(), attribute).detach()
