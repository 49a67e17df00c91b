"""What a fresh network would have in the place of each parameter: weights by initialiser, the rest by their module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from regrow.draw import Key, draw_filters, drawn_anew
from regrow.graph.slices import rows, unrows
from regrow.loop.network.parameters import KnownParameter
from regrow.loop.start.beginnings import one_number
from regrow.renewal import Layer


@final
class FreshNetwork:
    """Draws a fresh value for a parameter, by seed, occasion and name.

    A layer's weight is drawn by the layer's initialiser. A parameter that began as one number throughout (a norm's
    scale, a bias that the model sets to 0) is that number again. All others are what their module draws for itself.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], known: Sequence[KnownParameter]
    ) -> None:
        self._model = model  # the bare model
        paths = {layer.filters.path: layer for layer in layers}
        self._layers = {  # its layers with their initialisers
            each.name: paths[each.filters.path]
            for each in known
            if each.filters is not None and each.filters.path in paths
        }
        self.constants = {
            each.name: number
            for each in known
            if each.name not in self._layers
            and (number := one_number(each.parameter.detach())) is not None
        }
        self._makers: dict[str, Callable[[], nn.Module] | None] = {}
        self.unknown = tuple(  # parameters of which nobody knows how they are drawn
            each.name
            for each in known
            if not (each.name in self._layers or each.name in self.constants)
            and self._maker(each.name) is None
        )
        self._made: tuple[tuple[int, int, str], dict[str, Tensor]] | None = None

    def draw(self, name: str, value: Tensor, *, seed: int, occasion: int) -> Tensor | None:
        """A fresh value in the type of the present one, on its device; None where nobody knows any."""
        if name in self._layers:
            return self._drawn_weight(self._layers[name], value, seed=seed, occasion=occasion)
        if name in self.constants:
            return torch.full_like(value, self.constants[name])
        own = self._drawn_module(name, seed=seed, occasion=occasion)
        return None if own is None else own.to(value.device, value.dtype)

    def _drawn_weight(self, layer: Layer, value: Tensor, *, seed: int, occasion: int) -> Tensor:
        filters = layer.filters
        key = Key(seed=seed, step=occasion, layer=filters.path, purpose="network")
        drawn = draw_filters(
            layer.initialiser,
            key=key,
            weight=value,
            filters=torch.arange(filters.count, device="cpu"),
            to_rows=lambda weight: rows(weight, filters),
        )
        return unrows(drawn, filters)

    def _drawn_module(self, name: str, *, seed: int, occasion: int) -> Tensor | None:
        """All of a module's parameters are drawn together, and kept until another module is asked for."""
        owner, _, attribute = name.rpartition(".")
        make = self._maker(name)
        if make is None:
            return None
        key = (seed, occasion, owner)
        if self._made is None or self._made[0] != key:
            digest = hashlib.blake2b(repr((*key, "network")).encode(), digest_size=8).digest()
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.default_generator.manual_seed(int.from_bytes(digest, "little") >> 1)
                made = make()
            self._made = key, {each: own.detach() for each, own in made.named_parameters()}
        return self._made[1].get(attribute)

    def _maker(self, name: str) -> Callable[[], nn.Module] | None:
        owner = name.rpartition(".")[0]
        if owner not in self._makers:
            module = self._model.get_submodule(owner)
            # The model itself is no layer: its constructor draws more than what is its own.
            self._makers[owner] = None if module is self._model else drawn_anew(module)
        return self._makers[owner]

    def state_dict(self) -> dict[str, Any]:
        """Plain values: a model does not keep what it began with."""
        return {"constants": dict(self.constants)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume."""
        self.constants = {str(name): float(each) for name, each in state["constants"].items()}
