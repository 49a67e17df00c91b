"""What is trained at the moment: the tensors that may be written, and the layers that take part.

What nobody trains keeps its bits, and a layer is renewed only while everything that must change with it is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer

from regrow.compose import Recipe
from regrow.graph import Filters, Norm, Streams, Wiring, is_shared
from regrow.renewal import Edit, Need


@final
class TrainedTensors:
    """Answers, for everything that writes to a model: is this tensor trained now?

    A parameter is trained while it requires a gradient and lies in a group of one of the optimizers, by a learning
    rate that is not 0. What is taken from one that is not would never be learnt back. It is asked anew each time:
    layers are frozen and unfrozen, and join and leave optimizers, while a model trains. No tensor is read for the
    answer.

    Edge cases:
        Where the learning rates of all groups are 0 (the first step of a warm-up, the last of an annealing) none of
        them is frozen by it: the whole training rests. One that is kept in a tensor counts as one that is not 0, for
        it could not be read without a wait.
        A buffer of a layer all of whose own parameters are frozen is frozen with them: its statistics would not be
        learnt again. Other buffers may be written.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],  # those that train the model
        parameters: Mapping[str, Tensor],  # the model's, by all of their names
        *,
        norms: Iterable[Norm] = (),  # normalisation layers: their buffers go with their parameters
    ) -> None:
        self._optimizers = tuple(optimizers)
        self._parameters = dict(parameters)
        self._by_module: dict[str, set[str]] = {}  # a module's own parameters, by its path
        for name in self._parameters:
            self._by_module.setdefault(_owner(name), set()).add(name)
        self._of_norms: dict[
            str, set[str]
        ] = {}  # the parameters of its norm, by the name of a buffer
        for norm in norms:
            own = {each.name for each in norm.tensors if each.is_parameter}
            for each in norm.tensors:
                if not each.is_parameter:
                    self._of_norms.setdefault(each.name, set()).update(own)

    def now(self) -> frozenset[str]:
        """The names of all parameters that are trained."""
        groups: list[dict[str, Any]] = []
        moving: list[dict[str, Any]] = []
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                groups.append(group)
                lr = group.get("lr", 1.0)
                if isinstance(lr, Tensor) or float(lr) != 0.0:
                    moving.append(group)
        return self._in(moving or groups)

    def by(self, optimizer: Optimizer) -> frozenset[str]:
        """The same for one of the optimizers."""
        held = {id(each) for group in optimizer.param_groups for each in group["params"]}
        return frozenset([name for name in self.now() if id(self._parameters[name]) in held])

    def moving(self) -> frozenset[str]:
        """Those that the coming step moves: without what has a learning rate of 0, in a warm-up too."""
        return self._in([each for each in self._groups() if float(each.get("lr", 1.0)) != 0.0])

    def held(self, name: str) -> bool:
        """Whether a parameter lies in an optimizer, frozen or not."""
        return any(
            each is self._parameters.get(name)
            for group in self._groups()
            for each in group["params"]
        )

    def writable(self, names: Iterable[str], trained: Set[str] | None = None) -> set[str]:
        """Of some parameters and buffers those that may be written; `trained` is what `now` has just said."""
        trained = self.now() if trained is None else trained
        found: set[str] = set()
        for name in names:
            if name in self._parameters:
                may = name in trained
            else:  # a buffer goes with the parameters of its norm, or of its module
                own = self._of_norms.get(name) or self._by_module.get(_owner(name), set())
                may = not own or not own.isdisjoint(trained)
            if may:
                found.add(name)
        return found

    def permitted(self, edits: Sequence[Edit], trained: Set[str] | None = None) -> list[Edit]:
        """Of some edits those of tensors that may be written."""
        names = self.writable([edit.name for edit in edits], trained)
        return [edit for edit in edits if edit.name in names]

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def _in(self, groups: Iterable[Mapping[str, Any]]) -> frozenset[str]:
        held: set[int] = set()
        for group in groups:
            held.update(map(id, group["params"]))
        return frozenset(
            [
                name
                for name, each in self._parameters.items()
                if each.requires_grad and id(each) in held
            ]
        )


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


@final
class WorkingLayers:
    """Asks, layer by layer, whether it takes part in the training now.

    A layer that does not has no score, is counted in no share of the network, and is not renewed.
    """

    def __init__(
        self,
        trained: TrainedTensors,
        # Names of the parameters that must be trained when filters are selected, by layer.
        needs: Mapping[str, frozenset[str]],
        # The same when filters come back that were dropped.
        to_return: Mapping[str, frozenset[str]],
    ) -> None:
        self.trained = trained  # what may be written at the moment
        self._needs = dict(needs)
        self._to_return = dict(to_return)

    @classmethod
    def of(
        cls, recipe: Recipe, layers: Sequence[Filters], wiring: Wiring, trained: TrainedTensors
    ) -> WorkingLayers:
        """Find out what a recipe must change when it acts on a layer."""
        to_return = {layer.path: _to_renew(recipe, layer, wiring) for layer in layers}
        needs = dict(to_return)
        for layer in layers if recipe.drop else ():
            silent: set[str] = set()
            _must_be_silent(layer, wiring, silent)
            needs[layer.path] |= silent
        return cls(trained, needs, to_return)

    def now(self, trained: Set[str] | None = None) -> frozenset[str]:
        """The layers that take part now, by path; `trained` is what `TrainedTensors.now` has just said."""
        trained = self.trained.now() if trained is None else trained
        return frozenset([path for path, own in self._needs.items() if own <= trained])

    def returning(self) -> frozenset[str]:
        """The layers of which filters that were dropped are renewed if they come back now.

        Those of others come back as they were: they could learn nothing from where a renewal leaves them.
        """
        trained = self.trained.now()
        return frozenset([path for path, own in self._to_return.items() if own <= trained])

    def notes(self, layers: Sequence[Filters], streams: Streams | None) -> list[str]:
        """Who does not take part now, and what of those who do is kept."""
        trained = self.trained.now()
        able = self.now(trained)
        frozen = [layer.path for layer in layers if layer.weight not in trained]
        notes: list[str] = []
        if frozen:
            notes.append(
                f"not trained now, and watched from the step in which they are: {', '.join(frozen)}"
            )
        for layer in layers:
            if layer.path in frozen:
                continue
            lacking = sorted(self._needs[layer.path] - trained)
            if lacking:
                verb = "is" if len(lacking) == 1 else "are"
                notes.append(
                    f"{layer.path}: not renewed before {', '.join(lacking)} {verb} trained, which must change with it"
                )
            own = _own(layer)
            kept = [name for name in own if name not in self.trained.writable(own, trained)]
            if kept:
                notes.append(
                    f"{layer.path}: {', '.join(kept)} kept, which the optimizer does not train"
                )
        return notes + _of_streams(layers, able, streams)


def _to_renew(recipe: Recipe, layer: Filters, wiring: Wiring) -> frozenset[str]:
    """The weight, and what else a renewal writes to that is not begun anew with it."""
    found = {layer.weight}
    if Need.HOMOGENEOUS in recipe.renew.needs and layer.bias is not None:
        found.add(layer.bias)  # the function is kept by all that is written together, or not at all
    for reader in layer.readers if recipe.renew.touches_readers else ():
        if not any(flag for flags in reader.alone for flag in flags):
            continue
        found.add(reader.weight)
        if recipe.renew.keeps_output and not recipe.drop and reader.path in wiring:
            # Where the mean of what is cut off goes: see `regrow.renewal.preserve`.
            bias = wiring[reader.path].bias
            found |= set() if bias is None else {bias}
    return frozenset(found)


def _must_be_silent(layer: Filters, wiring: Wiring, found: set[str]) -> None:
    """What a drop must set to 0 so that nobody hears these filters.

    What multiplies them; and where that is other filters' too, all that they could speak with. A layer that hears
    nobody else is dropped with them.
    """
    found.add(layer.weight)
    deaf = any(reader.standardised for reader in wiring[layer.path].readers)
    if deaf or is_shared(layer):
        found |= {*_scales(layer), *([] if layer.bias is None else [layer.bias])}
    for reader in layer.readers:
        if reader.weight in found or reader.standardised:
            continue
        found.add(reader.weight)
        for behind in wiring.layers:
            if behind.path == reader.path and behind.groups > 1 and not behind.is_head:
                _must_be_silent(behind, wiring, found)


def _scales(layer: Filters) -> set[str]:
    return {each.name for norm in layer.norms for each in norm.tensors if each.is_parameter}


def _own(layer: Filters) -> list[str]:
    """What a renewal begins anew besides the weight."""
    entries = [each.name for norm in layer.norms for each in norm.tensors]
    return entries if layer.bias is None else [layer.bias, *entries]


def _of_streams(layers: Sequence[Filters], able: Set[str], streams: Streams | None) -> list[str]:
    """Filters that wait for another writer of their stream."""
    waiting: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for group in streams.groups if streams is not None else ():
        others = {path for path, _ in group if path not in able}
        for path, _ in group if others else ():
            if path in able:
                waiting.setdefault(path, set()).update(others)
                counts[path] = counts.get(path, 0) + 1
    return [
        f"{layer.path}: {counts[layer.path]} of {layer.count} filters are not renewed before "
        f"{', '.join(sorted(waiting[layer.path]))} can be, which write into their stream too"
        for layer in layers
        if layer.path in waiting
    ]
