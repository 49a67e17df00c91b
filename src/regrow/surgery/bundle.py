"""The young entries of many tensors as one: their steps are made right by a few operations instead of a few each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regrow.surgery.optimizers import Family, Made
from regrow.surgery.young import Places, ages


@dataclass(frozen=True, kw_only=True)
class Young:
    """The young part of one tensor whose step has been made.

    Attributes:
        parameter: The tensor.
        state: The optimizer's state of it.
        at: Where its young part is.
        born: The births, of the part's length, without axes of their own.
        step: The tensor's count of updates, this one included.
        moved: Whether this one was made.
    """

    parameter: nn.Parameter
    state: Mapping[str, Any]
    at: Places
    born: Tensor
    step: Tensor
    moved: Tensor


def settle_together(members: Sequence[Young], *, family: Family, group: Mapping[str, Any]) -> None:
    """Make the step right for the young parts of tensors with the same options, type and device.

    Args:
        members: The young parts. Their parameters are written where an entry is young.
        family: Of the optimizer; what it works out depends on the state after the step alone.
        group: The options.
    """
    left = [member.parameter.detach()[member.at] for member in members]
    lengths = [part.numel() for part in left]
    device = left[0].device
    # One tensor may have more than another: a maximum from when amsgrad was on, say.
    keys = [
        key
        for key in family.zeroed
        if all(isinstance(member.state.get(key), Tensor) for member in members)
    ]
    flat = {
        key: torch.cat([member.state[key][member.at].reshape(-1) for member in members])
        for key in keys
    }
    steps = _each([member.step for member in members], lengths, device=device)
    moved = _each([member.moved for member in members], lengths, device=device)
    born = torch.cat([member.born for member in members])
    value = torch.cat([part.reshape(-1) for part in left])
    age, young = ages({"born": born}, step=steps, moved=moved, horizon=family.horizon(group))
    due = family.due(
        Made(
            parameter=nn.Parameter(value, requires_grad=False),
            state=flat,
            at=(slice(None),),
            group=group,
            step=steps,
            age=age,
            memory={},
            before=None,
        )
    )
    if due.value is None:
        return
    right = torch.where(young, due.value.to(value.dtype), value)
    for member, part, new in zip(members, left, right.split(lengths), strict=True):
        member.parameter[member.at] = new.reshape(part.shape)


def births(born: Tensor, at: Places, shape: torch.Size) -> Tensor:
    """The births of a tensor's young part, one an entry.

    Args:
        born: As it is remembered: broadcasts to the tensor.
        at: Where the young part is.
        shape: The tensor's.

    Returns:
        One number for each entry of the part, in its order.
    """
    return born.expand(shape)[at].reshape(-1).clone()


def _each(values: Sequence[Tensor], lengths: Sequence[int], *, device: torch.device) -> Tensor:
    """One value a member as one value an entry."""
    return torch.cat(
        [
            # A number in the host's memory goes to a GPU as an argument: a copy of its tensor would wait for the GPU.
            torch.full((length,), value.item(), dtype=value.dtype, device=device)
            if value.device.type == "cpu"
            else value.reshape(1).expand(length)
            for value, length in zip(values, lengths, strict=True)
        ]
    )
