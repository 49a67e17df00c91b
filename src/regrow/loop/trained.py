"""Which tensors may be written at the moment: what nobody trains keeps its bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer

from regrow.graph import Norm
from regrow.renewal import Edit


@final
class Trained:
    """Answers, for everything that writes to a model: is this tensor trained now?

    A parameter is trained while it requires a gradient and lies in a group of one of the optimizers, by a rate that is
    not 0. What is taken from one that is not would never be learnt back. It is asked anew each time: layers are frozen
    and unfrozen, and join and leave optimizers, while a model trains. No tensor is read for the answer.

    Args:
        optimizers: Those that train the model.
        parameters: The model's, by all of their names.
        norms: Normalisation layers: their buffers go with their parameters.

    Edge cases:
        Where the rates of all groups are 0 (the first step of a warm-up, the last of an annealing) none of them is
        frozen by it: the whole training rests. A rate that is kept in a tensor counts as one that is not 0, for it
        could not be read without a wait.
        A buffer of a layer all of whose own parameters are frozen is frozen with them: its statistics would not be
        learnt again. Other buffers may be written.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        parameters: Mapping[str, Tensor],
        *,
        norms: Iterable[Norm] = (),
    ) -> None:
        self._optimizers = tuple(optimizers)
        self._parameters = dict(parameters)
        self._beside: dict[str, set[str]] = {}  # a module's own parameters, by its path
        for name in self._parameters:
            self._beside.setdefault(_owner(name), set()).add(name)
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
        groups = self._groups()
        return self._in([each for each in groups if not _rests(each)] or groups)

    def by(self, optimizer: Optimizer) -> frozenset[str]:
        """The same for one of the optimizers.

        Args:
            optimizer: Which.

        Returns:
            Names.
        """
        held = {id(each) for group in optimizer.param_groups for each in group["params"]}
        return frozenset([name for name in self.now() if id(self._parameters[name]) in held])

    def moving(self) -> frozenset[str]:
        """Those that the coming step moves: without what has a rate of 0, in a warm-up too."""
        return self._in([each for each in self._groups() if float(each.get("lr", 1.0)) != 0.0])

    def held(self, name: str) -> bool:
        """Whether a parameter lies in an optimizer, frozen or not.

        Args:
            name: Of the parameter.

        Returns:
            Whether it does.
        """
        return any(
            each is self._parameters.get(name)
            for group in self._groups()
            for each in group["params"]
        )

    def writable(self, names: Iterable[str]) -> frozenset[str]:
        """Of some tensors those that may be written.

        Args:
            names: Of parameters and buffers.

        Returns:
            Names.
        """
        trained = self.now()
        return frozenset([name for name in names if self._may_be_written(name, trained)])

    def permitted(self, edits: Sequence[Edit]) -> list[Edit]:
        """Of some edits those of tensors that may be written.

        Args:
            edits: What a renewal, or a drop, would write.

        Returns:
            What it writes.
        """
        names = self.writable({edit.name for edit in edits})
        return [edit for edit in edits if edit.name in names]

    def _may_be_written(self, name: str, trained: frozenset[str]) -> bool:
        if name in self._parameters:
            return name in trained
        beside = self._of_norms.get(name) or self._beside.get(_owner(name), set())
        return not beside or not beside.isdisjoint(trained)

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def _in(self, groups: Iterable[Mapping[str, Any]]) -> frozenset[str]:
        held = {id(each) for group in groups for each in group["params"]}
        found = [
            name
            for name, each in self._parameters.items()
            if each.requires_grad and id(each) in held
        ]
        return frozenset(found)


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _rests(group: Mapping[str, Any]) -> bool:
    rate = group.get("lr", 1.0)
    return not isinstance(rate, Tensor) and float(rate) == 0.0
