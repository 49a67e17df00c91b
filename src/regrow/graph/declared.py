"""Normalisation layers that say themselves what their tensors are: `regrow.nn`'s, and a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from torch import Tensor, nn

from regrow.errors import TraceError
from regrow.graph.filters import NormTensor
from regrow.graph.meetings import Reason
from regrow.graph.record import NormRecord, Record

_SCALES: Final = ("weight", "gain")
_SHIFTS: Final = ("bias",)
"""What a scale and a shift of each channel are called: grafting by filter asks for the scale."""


@runtime_checkable
class ChannelNorm(Protocol):
    """A layer that takes maps and gives maps, and in which every channel stays itself.

    The trace then does not look inside, and a renewal sets the entries of a renewed filter to what it says. Any module
    with these members is one.

    Attributes:
        channel_axis: Where the channels are, counted from the end: -3 in maps with two axes of positions.

    Examples:
        >>> import torch
        >>> class Shift(nn.Module):
        ...     channel_axis = -3
        ...
        ...     def __init__(self, channels: int) -> None:
        ...         super().__init__()
        ...         self.shift = nn.Parameter(torch.zeros(channels))
        ...
        ...     def fresh_channel_entries(self) -> dict[str, float | str]:
        ...         return {"shift": 0.0}
        ...
        ...     def forward(self, maps: Tensor) -> Tensor:
        ...         return maps + self.shift[:, None, None]
        >>> isinstance(Shift(3), ChannelNorm)
        True
    """

    channel_axis: int

    def fresh_channel_entries(self) -> Mapping[str, float | str]:
        """Each tensor with one entry a channel, to a fresh entry: a number, or the name of a tensor of one number."""
        ...


def note_declared(
    record: Record,
    module: nn.Module,
    path: str,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
) -> None:
    """Note what a `ChannelNorm` has done: a channel stays itself, and the entries are its own; others are not noted."""
    if not isinstance(module, ChannelNorm):
        return
    axis = module.channel_axis
    what = f"'{path}' ({type(module).__name__}) says that its channels are on axis {axis}"
    shapes = [tuple(each.shape) for each in (*before, *after)]
    if len(shapes) != 2 or shapes[0] != shapes[1] or not -len(shapes[0]) <= axis < 0:
        raise TraceError(
            f"{what} and stay themselves: it must take one tensor and give one of the same shape, and had {shapes}"
        )
    # All that the module has, also what it says nothing of: unclaimed, a parameter could count as one that nobody was
    # seen to use, and the layers in front would be left alone (`_apart`).
    for name, tensor in record.ledger.tensors.items():
        if any(tensor is own for own in (*module.parameters(), *module.buffers())):
            record.claim(name, owner=path, path=path)
    given, out = before[0], after[0]
    record.ledger.mark([out], live=record.ledger.is_live(given))
    names = record.ledger.names(given)
    if names is None:
        record.ledger.write(out, None)
        return
    # Along the positions what a channel depends on is united: the layer may work over a whole map, and usually does.
    place, spread = f"'{path}'", list(range(axis + 1, 0))
    positions = record.table.join_over(names, spread, Reason("read together", place))
    record.ledger.write(out, positions.expand(out.shape))
    seen = record.table.along(names, axis, place)
    said = _said(record, module, module.fresh_channel_entries(), size=len(seen), what=what)
    if not said:
        return
    known = {
        field: next(said[name].name for name in names if name in said)
        for field, names in (("weight", _SCALES), ("bias", _SHIFTS))
        if any(name in said for name in names)
    }
    entries: list[set[int]] = [set() for _ in range(len(seen))]
    norm = record.norms.setdefault(
        path, NormRecord(type(module).__name__, known, entries, declared=tuple(said.values()))
    )
    for entry, name in zip(norm.seen, seen.tolist(), strict=True):
        entry.add(name)


def _said(
    record: Record, module: nn.Module, fresh: Mapping[str, float | str], *, size: int, what: str
) -> dict[str, NormTensor]:
    """What the layer says of its tensors: by its own names, with the model's in them."""
    of = {id(tensor): name for name, tensor in record.ledger.tensors.items()}
    mine = {
        **dict(module.named_parameters(recurse=False)),
        **dict(module.named_buffers(recurse=False)),
    }
    found: dict[str, NormTensor] = {}
    for said, value in fresh.items():
        for name, numbers in ((said, size), (value, 1)):
            if isinstance(name, str) and (name not in mine or mine[name].numel() != numbers):
                has = f"of {mine[name].numel()}" if name in mine else "none of that name"
                raise TraceError(
                    f"{what}: '{name}' must be a tensor of its own of {numbers} numbers, and it has {has}"
                )
        found[said] = NormTensor(
            name=of[id(mine[said])],
            fresh=of[id(mine[value])] if isinstance(value, str) else float(value),
            is_parameter=isinstance(mine[said], nn.Parameter),
        )
    return found
