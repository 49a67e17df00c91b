"""Who is living: a pass of its own in double precision over the whole training set, which knows nothing of regrow.

The pass runs a copy of the network with saved weights, in training mode, so that norms use the batch's statistics, but
without dropout and stochastic depth. What a unit gives is read where the situation says. A unit is

* living: on at least 2 % of the examples it gives a value other than its usual one
* rare: on some examples, but fewer
* dead: it gives one value to all of them
* unasked: the pass does not call it, as an expert without tokens
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from harm.parts import Chance
from harm.registry import Heard, Place, Situation, places_of

Class = Literal["living", "rare", "dead", "unasked"]
SHARE = 0.02
"""Of the examples."""
TOLERANCE = 1e-6
"""Of the layer's largest value: less is no difference."""


class Oracle:
    """Judges a situation's units under saved weights.

    Args:
        situation: Where its units are heard.
        model: As it was built; a copy is kept.
    """

    def __init__(self, situation: Situation, model: nn.Module) -> None:
        self._situation = situation
        self._twin = copy.deepcopy(model).double().train()
        for module in self._twin.modules():
            if isinstance(module, (_DropoutNd, Chance)):
                module.training = False
        x = situation.data()[0]
        self._x = x.double() if x.is_floating_point() else x
        self._known: dict[int, dict[str, list[Class]]] = {}

    def classes(self, state: Mapping[str, Tensor]) -> dict[str, list[Class]]:
        """What each unit is, by layer.

        Args:
            state: A state dict of the model; the same one must not change later.
        """
        if id(state) not in self._known:
            self._twin.load_state_dict(dict(state))
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # checkpointing finds no gradients
                heard = self._hear()
            self._known[id(state)] = {
                layer: _judged(places, len(self._x), self._count(layer))
                for layer, places in heard.items()
            }
        return self._known[id(state)]

    def _hear(self) -> Heard:
        """Every layer's values, by the situation's own pass or at its places."""
        if self._situation.heard is not None:
            return self._situation.heard(self._twin, self._x)
        calls: dict[str, list[list[Tensor]]] = {}
        hooks = []
        for layer, given in self._situation.places.items():
            for place in places_of(given):
                calls.setdefault(layer, []).append([])
                listen = _listening(place, self._count(layer), calls[layer][-1])
                module = self._twin.get_submodule(place.module)
                hooks.append(module.register_forward_hook(listen))
        self._twin(self._x)
        for hook in hooks:
            hook.remove()
        return {
            layer: [torch.cat(heard) for heard in places if heard]
            for layer, places in calls.items()
        }

    def _count(self, layer: str) -> int:
        return self._twin.get_parameter(f"{layer}.weight").shape[0]


def _listening(place: Place, count: int, calls: list[Tensor]) -> Callable[..., None]:
    """A hook that keeps the values of a layer's units."""

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        del module, args
        units = place.then(output).movedim(place.axis, 1)
        calls.append(units.narrow(1, place.first, count).clone())

    return keep


def _judged(places: list[Tensor], examples: int, units: int) -> list[Class]:
    """Classes of a layer's units; at each place a unit's usual value is its median.

    Args:
        places: What is heard of them; the calls of a module one after the other.
        examples: Of the training set. A module may be called several times with all of them, or with some alone.
        units: How many they are.
    """
    told = [place.flatten(2) if place.ndim > 2 else place.unsqueeze(2) for place in places]
    told = [place for place in told if place.numel()]
    if not told:
        return ["unasked"] * units
    largest = max(float(place.abs().max()) for place in told)
    differs = torch.zeros(examples, units, dtype=torch.bool)
    further = torch.zeros(units, dtype=torch.float64)
    for values in told:
        usual = values.transpose(0, 1).flatten(1).median(dim=1).values
        apart = (values - usual[:, None]).abs().amax(2) > TOLERANCE * largest
        if len(apart) % examples:
            further += apart.sum(0)
        else:
            differs |= apart.view(-1, examples, units).any(0)
    shares = (differs.sum(0) + further) / examples
    return [_class(share) for share in shares.tolist()]


def _class(share: float) -> Class:
    if share == 0:
        return "dead"
    return "living" if share >= SHARE else "rare"
