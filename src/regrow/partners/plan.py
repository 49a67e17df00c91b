"""Which tensors of a network take whose share when it is grafted.

Called once a model by `partners/attach.py`; `partners/shares.py` fills the plan with numbers at each graft.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from torch import Tensor, nn

from regrow.errors import ConfigError
from regrow.graph import Filters, Norm, Wiring
from regrow.graph.users import others

_MATRIX: Final = 2
"""Axes from which on a tensor is taken for a layer's weight."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A layer that has a share."""

    name: str  # module path, or the tensor's name where there is no module of its own
    weight: str  # the tensor that is measured
    filters: Filters | None = None  # where its filters live; None where the layer was not traced
    # The norm layer behind it whose scales weigh its filters, for shares by filter; None where there is none.
    scale: Norm | None = None

    @property
    def count(self) -> int:
        """How many filters have a share each: one for all where they were not traced."""
        return 1 if self.filters is None else self.filters.count

    @property
    def norms(self) -> Sequence[Norm]:
        """The norm layers that its filters go through, those of several layers too."""
        return () if self.filters is None else (*self.filters.norms, *self.filters.shared_norms)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Entries of a tensor that belong to filters of one unit."""

    unit: int  # its index
    filters: tuple[int, ...]  # indices of filters; as long as `entries`
    entries: tuple[int, ...]  # indices of entries


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """Whose share each tensor takes."""

    units: tuple[Unit, ...]  # the layers with a share
    # Tensors that go with one unit, filter by filter where shares are by filter: index by name.
    whole: Mapping[str, int]
    # Tensors whose entries go with filters of one unit or of several.
    claimed: Mapping[str, Sequence[Claim]] = field(default_factory=dict[str, Sequence[Claim]])
    # Input channels of a unit's weight that other units write, by the unit's index: for shares by filter.
    columns: Mapping[int, Sequence[Claim]] = field(default_factory=dict[int, Sequence[Claim]])
    left: tuple[str, ...] = ()  # tensors that are not touched
    notes: tuple[str, ...] = ()  # what a user should know, one line each


def blendable(model: nn.Module) -> dict[str, Tensor]:
    """Everything that networks lend each other, in the order of the state dict: a tensor that is tied, once."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    for name in model.state_dict(keep_vars=True):
        tensor = parameters.get(name, buffers.get(name))
        if tensor is not None and id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def plan_by_order(tensors: Mapping[str, Tensor]) -> Plan:
    """The released code's way: a share is worked out at each name with ``conv`` in it and carried on to the next.

    What comes before the first such name is left alone (the code fails there).
    """
    units: list[Unit] = []
    whole: dict[str, int] = {}
    left: list[str] = []
    for name, tensor in tensors.items():
        if "conv" in name and tensor.is_floating_point():
            units.append(Unit(name=name, weight=name))
        if units:
            whole[name] = len(units) - 1
        else:
            left.append(name)
    if not units:
        raise ConfigError(
            f"mode='reference' finds layers by 'conv' in the names of their tensors, and none of "
            f"{', '.join(tensors)} has it: use mode='paper' (attach_partners)"
        )
    notes = [f"before the first 'conv', left alone: {', '.join(left)}"] if left else []
    return Plan(units=tuple(units), whole=whole, left=tuple(left), notes=tuple(notes))


def plan_by_wiring(tensors: Mapping[str, Tensor], wiring: Wiring, *, by_filter: bool) -> Plan:
    """Each layer by its own weight, and what belongs to its filters with it.

    Layers that the trace does not know go by their own weights too; what no layer claims is blended half and half, and
    named. So is what several use (`Wiring.shared`): of a bias or a norm's entry that several layers have each takes its
    share, and a weight that works elsewhere too has one share for all its filters.
    """
    units = [
        Unit(
            name=layer.path,
            weight=layer.weight,
            filters=layer,
            scale=_scale(layer, tensors)
            if by_filter and layer.weight not in wiring.shared
            else None,
        )
        for layer in wiring.layers
        if layer.weight in tensors
    ]
    whole = {unit.weight: index for index, unit in enumerate(units)}
    # Norm entries first: a bias that a norm uses as well is then shared out among all who claim it.
    claimed = _claims(units, tensors)
    whole |= _biases(units, tensors, claimed)
    for name, tensor in tensors.items():
        # Vectors and counters carry no information of their own: below they go with the weight of their module.
        if name in whole or name in claimed or not tensor.is_floating_point():
            continue
        # A matrix that the trace does not know is a unit of its own, measured by its own weights: without one it would
        # be blended half and half however much more one of the two carries.
        if tensor.ndim >= _MATRIX and min(tensor.shape) > 1:
            whole[name] = len(units)
            units.append(Unit(name=name, weight=name))
    homes = {unit.weight.rpartition(".")[0]: index for index, unit in enumerate(units)}
    norms = {name.rpartition(".")[0]: found for name, found in claimed.items()}
    even: list[str] = []
    for name, tensor in tensors.items():
        home = name.rpartition(".")[0]
        if name in whole or name in claimed:
            continue
        if not tensor.is_floating_point() or home in homes:
            # Counters go with anybody: they are copied. The rest goes with the weight of its module.
            whole[name] = homes.get(home, norms[home][0].unit if home in norms else 0)
        else:
            even.append(name)
    notes = [f"no layer claims them, blended half and half: {', '.join(even)}"] if even else []
    notes += [
        f"{name} is used by {others(users, '')}: blended once, by the mean share of the layers among them"
        for name, users in wiring.shared.items()
    ]
    return Plan(
        units=tuple(units),
        whole=whole,
        claimed=claimed,
        columns=_columns(units) if by_filter else {},
        notes=tuple(notes),
    )


def _biases(
    units: Sequence[Unit], tensors: Mapping[str, Tensor], claimed: dict[str, list[Claim]]
) -> dict[str, int]:
    """Biases go with their layer; those that several layers have, or a norm too, are added to what several claim."""
    found: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        bias = None if unit.filters is None else unit.filters.bias
        if bias is not None and bias in tensors:
            found.setdefault(bias, []).append(index)
    single = {
        bias: several[0]
        for bias, several in found.items()
        if len(several) == 1 and bias not in claimed
    }
    for bias in found.keys() - single.keys():
        entries = tuple(range(tensors[bias].numel()))
        claimed.setdefault(bias, []).extend(
            Claim(unit=index, filters=entries, entries=entries) for index in found[bias]
        )
    return single


def _scale(layer: Filters, tensors: Mapping[str, Tensor]) -> Norm | None:
    """The first norm behind a layer in which every filter has a scale of its own."""
    for norm in layer.norms:
        alone = all(len(entries) == 1 for entries in norm.channels)
        if norm.weight in tensors and alone:
            return norm
    return None


def _claims(units: Sequence[Unit], tensors: Mapping[str, Tensor]) -> dict[str, list[Claim]]:
    """Norm entries by the filters that they see, also where several layers share them."""
    found: dict[str, list[Claim]] = {}
    for index, unit in enumerate(units):
        for norm in unit.norms:
            claim = _claim(index, norm.channels)
            for each in norm.tensors if claim.entries else ():
                if each.name in tensors:
                    found.setdefault(each.name, []).append(claim)
    return found


def _columns(units: Sequence[Unit]) -> dict[int, list[Claim]]:
    """The input channels of each unit's weight, by the filters that write them."""
    index_of = {unit.name: index for index, unit in enumerate(units)}
    found: dict[int, list[Claim]] = {}
    for index, unit in enumerate(units):
        for reader in () if unit.filters is None else unit.filters.readers:
            claim = _claim(index, reader.channels)
            if claim.entries and reader.path in index_of:
                found.setdefault(index_of[reader.path], []).append(claim)
    return found


def _claim(unit: int, channels: Sequence[Sequence[int]]) -> Claim:
    """What the filters of a unit have of a tensor, from the entries of each."""
    pairs = [(f, entry) for f, entries in enumerate(channels) for entry in entries]
    filters, entries = zip(*pairs, strict=True) if pairs else ((), ())
    return Claim(unit=unit, filters=filters, entries=entries)
